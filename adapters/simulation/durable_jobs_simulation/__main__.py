"""`python -m durable_jobs_simulation`."""

import sys

from durable_jobs_simulation.cli import main

if __name__ == "__main__":
    sys.exit(main())

# Everything a developer runs. A fresh machine needs Python >= 3.11, pip and make; the rest goes into .venv.
PYTHON ?= python3
RUNS ?= ../shared/reference/runs
MODULE ?=
SEEDS ?= 200
FIRST ?= 0
FLEET ?= 100000
PARALLEL ?= -n 3 --dist worksteal
CHECKED := tests/tidy tests/docs tests/typing tests/benches
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test oldest check simulate certify mutation soak bench bench-full reference docs clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements-dev.txt pyproject.toml $(wildcard backends/*/pyproject.toml adapters/*/pyproject.toml conformance/pyproject.toml)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: $(READY) ## all three kinds on a SQLite file, with a worker that is killed and started again
	$(BIN)/python examples/demo.py

test: $(READY) ## the suite; the core's own tests with values that are frozen at run time too
	PYTHONDEVMODE=1 PYTHONMALLOC=pymalloc $(BIN)/python -m pytest -q $(PARALLEL) tests/core
	$(BIN)/python -m pytest -q $(PARALLEL) tests $(addprefix --ignore ,tests/core $(CHECKED))

oldest: ## the suite with the oldest versions of what we depend on that we say we can do with
	$(PYTHON) -m venv build/oldest
	$(PYTHON) scripts/oldest.py > build/oldest.txt
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c build/oldest.txt
	build/oldest/bin/python -m pytest -q $(PARALLEL) tests $(addprefix --ignore ,$(CHECKED))

check: $(READY) ## style, types, import contracts, code of README and guides, benchmarks, instructions of operations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q $(PARALLEL) $(CHECKED)
	$(BIN)/python -m benchmarks.micro --check

simulate: $(READY) ## real engines and hooks on virtual time under every fault; SEEDS=200 FIRST=0
	$(BIN)/python -m durable_jobs_simulation run --seeds $(SEEDS) --first $(FIRST) --processes 2

certify: $(READY) ## certify our backends by the conformance kit; build/conformance.json
	PYTHONPATH=tests $(BIN)/python -m durable_jobs_conformance \
		$(addprefix support.harnesses:,MEMORY SQLITE REDIS VALKEY REDIS_CLUSTER VALKEY_CLUSTER) --json build/conformance.json

mutation: $(READY) ## change the core in thousands of places, one at a time: each has to fail a test; MODULE=engine/lane.py
	$(BIN)/python -m tests.mutation $(addprefix --module ,$(MODULE))

soak: $(READY) ## hundreds of SIGKILLs, a fleet on a server, 10,000 cuts and seeds, 5,000,000 states: hours; FLEET=100000
	$(BIN)/python -m tests.soak --fleet-runs $(FLEET)
	$(BIN)/python -m tests.examples.soak --kills 50
	$(BIN)/python -m durable_jobs_simulation run --seeds 10000 --processes 2 --table
	$(BIN)/python -m durable_jobs_simulation check --all --processes 2 --states 5000000 --minutes 90 --gib 7

bench: $(READY) ## jobs a second as ratios beside others, the short form; build/bench.json, and plots of it
	$(BIN)/python -m benchmarks

bench-full: $(READY) ## all of it, five rounds: an hour
	$(BIN)/python -m benchmarks --full
	$(BIN)/python -m benchmarks.micro

reference: $(READY) ## replay recorded runs of the original; RUNS=DIR names others
	$(BIN)/python -m tests.reference --runs $(RUNS)

docs: $(READY) ## write what is generated: state diagrams, the table of tests by sentence
	$(BIN)/python scripts/diagrams.py
	$(BIN)/python scripts/spec_coverage.py

clean: ## remove .venv and caches
	rm -rf .venv build dist .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache

# Everything a developer runs. A fresh machine needs Python >= 3.11, pip and make; the rest goes into .venv.
PYTHON ?= python3
RUNS ?= ../shared/reference/runs
MODULE ?=
SEEDS ?= 200
FIRST ?= 0
FLEET ?= 100000
PARALLEL ?= -n 4 --dist worksteal
CHECKED := tests/tidy tests/docs tests/typing tests/benches
BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test oldest check simulate certify mutation soak bench bench-full reference docs clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements-dev.txt pyproject.toml $(wildcard backends/*/pyproject.toml adapters/*/pyproject.toml conformance/pyproject.toml)
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: $(READY) ## half a minute: all three kinds of job, with a worker that is killed three times
	$(BIN)/python examples/demo.py

# The tests of the core run with values that are frozen at run time too (D-11).
test: $(READY) ## the test suite
	PYTHONDEVMODE=1 PYTHONMALLOC=pymalloc $(BIN)/python -m pytest -q $(PARALLEL) tests/core
	$(BIN)/python -m pytest -q $(PARALLEL) tests $(addprefix --ignore ,tests/core $(CHECKED))

oldest: ## the test suite with the oldest dependencies that we allow
	$(PYTHON) -m venv build/oldest
	$(PYTHON) scripts/oldest.py > build/oldest.txt
	build/oldest/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt -c build/oldest.txt
	build/oldest/bin/python -m pytest -q $(PARALLEL) tests $(addprefix --ignore ,$(CHECKED))

check: $(READY) ## style, types, imports, the code in README and guides, benchmarks
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q $(PARALLEL) $(CHECKED)
	$(BIN)/python -m benchmarks.micro --check

simulate: $(READY) ## the library in virtual time under every fault; SEEDS=200 FIRST=0
	$(BIN)/python -m durable_jobs_simulation run --seeds $(SEEDS) --first $(FIRST) --processes 2

certify: $(READY) ## run the conformance kit on our backends; writes build/conformance.json
	PYTHONPATH=tests $(BIN)/python -m durable_jobs_conformance \
		$(addprefix support.harnesses:,MEMORY SQLITE REDIS VALKEY REDIS_CLUSTER VALKEY_CLUSTER) --json build/conformance.json

mutation: $(READY) ## half an hour: does each change to the core fail a test? MODULE=engine/lane.py
	$(BIN)/python -m tests.mutation $(addprefix --module ,$(MODULE))

soak: $(READY) ## hours: SIGKILLs, cut connections, 10,000 seeds, 5,000,000 states; FLEET=100000
	$(BIN)/python -m tests.soak --fleet-runs $(FLEET)
	$(BIN)/python -m tests.examples.soak --kills 50
	$(BIN)/python -m durable_jobs_simulation run --seeds 10000 --processes 2 --table
	$(BIN)/python -m durable_jobs_simulation check --all --processes 2 --states 5000000 --minutes 90 --gib 7

bench: $(READY) ## jobs a second, beside other libraries; writes build/bench.json and plots
	$(BIN)/python -m benchmarks

bench-full: $(READY) ## half an hour: all benchmarks, five rounds
	$(BIN)/python -m benchmarks.micro
	$(BIN)/python -m benchmarks --full

reference: $(READY) ## replay recorded runs of the TypeScript original; RUNS=DIR names others
	$(BIN)/python -m tests.reference --runs $(RUNS)

docs: $(READY) ## write the generated pages: state diagrams, the tests of each sentence
	$(BIN)/python scripts/diagrams.py
	$(BIN)/python scripts/spec_coverage.py

clean: ## remove .venv and caches
	rm -rf .venv build dist .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache

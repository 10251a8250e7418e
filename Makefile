# Signalbox. `make help` lists the targets; `make run` and `make test` set up everything they need.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PORT ?= 8000
Q ?= where is my order 1042?
PYTEST ?= -q
BENCH ?=
DATA ?=

define need_python
$(or $(PYTHON),x) -c '$(NEW_ENOUGH)' 2>/dev/null || { echo "Signalbox needs Python 3.11 or newer, and $(if $(PYTHON),$(PYTHON) is not,none is on the PATH). \
Install one, or name it: make $(or $(MAKECMDGOALS),setup) PYTHON=/path/to/python3.11" >&2; exit 1; }
endef

# uv from the PATH, else one of our own under .tools, made with the system's Python alone.
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
# The first that runs and is new enough: a version manager's command may be there and not run. 3.11 and 3.12 come first,
# as the servers that tests start have wheels for them.
PYTHONS := python3.11 python3.12 python3 python3.13 python3.14 python
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for found in $(PYTHONS); do $$found -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$found && break; done)
RUN := $(UV) run --no-sync --frozen
export UV_PYTHON_DOWNLOADS ?= never

##@ Use it
.PHONY: run services ask doctor
run: .venv/.compiled ## Start everything in one process, with the example shop (PORT=8000)
	@$(RUN) python -m signalbox_local run --port $(PORT)

services: .venv/.compiled ## Start six services on PostgreSQL and Redis behind Traefik (PORT=8000)
	@$(RUN) python -m signalbox_local services --port $(PORT)

ask: .venv/.synced ## Ask a question: make ask Q="where is my order 1042?"
	@$(RUN) signalbox ask --url http://127.0.0.1:$(PORT) "$(Q)"

doctor: .venv/.synced ## Make one real call per model role and say what a model cannot do
	@$(RUN) signalbox doctor --url http://127.0.0.1:$(PORT)

##@ Change it
.PHONY: format lint types imports sizes openapi schemas docs check
format: .venv/.synced ## Format the code and fix what can be fixed
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

lint: .venv/.synced ## Ruff: format and lint
	$(RUN) ruff format --check .
	$(RUN) ruff check .

types: .venv/.synced ## mypy, strict
	$(RUN) mypy libs/*/src services/*/src examples/*/src tests/fake_provider/src deploy/local/src

imports: .venv/.synced ## import-linter: who may import whom
	$(RUN) lint-imports

sizes: .venv/.synced ## No file over 500 lines, no function over 60
	$(RUN) python tests/gates/sizes.py

openapi: .venv/.synced ## Write the services' openapi.json
	$(RUN) python tests/gates/openapi.py --write

schemas: .venv/.synced ## Write the services' sqlite.sql from their migrations
	$(RUN) python tests/gates/sqlite_schemas.py --write

docs: .venv/.synced ## Write the generated pages of docs/
	$(RUN) python tests/gates/generated_docs.py --write

check: lint types imports sizes ## All gates that need no running system
	$(RUN) python tests/gates/openapi.py
	$(RUN) python tests/gates/generated_docs.py

##@ Test it
.PHONY: test test-all test-long replay bench bench-work bench-footprint bench-rules bench-gateway bench-intents
test: .venv/.synced ## Unit, storage, contract and end-to-end tests on real PostgreSQL, Redis and Traefik
	$(RUN) pytest $(PYTEST) -m "not faults and not soak"

test-all: .venv/.synced ## The same, and the fault suites
	$(RUN) pytest $(PYTEST) -m "not soak"

replay: .venv/.compiled ## Recorded conversations through Workflow, Skills and Tools: how many pass (DATA=folder)
	PYTHONPATH=tests $(RUN) python -m replay $(DATA) $(BENCH)

test-long: .venv/.synced ## The soaks at full length
	$(RUN) pytest $(PYTEST) -m soak

bench: .venv/.compiled ## Cases R and F in both shapes, as ratios to the bare endpoint
	$(RUN) python bench/turns/run.py

bench-work: .venv/.compiled ## A tool call and a two-tool agent turn, as ratios to what they wait for
	$(RUN) python bench/work/run.py $(BENCH)

bench-footprint: .venv/.compiled ## What a process takes while nothing happens: a start, an idle session, an open stream
	$(RUN) python bench/footprint.py $(BENCH)

bench-rules: .venv/.compiled ## What matching unseen messages costs at 100 to 10,000 rules (DATA=folder of labelled sentences)
	$(RUN) python bench/rules.py $(DATA)

bench-gateway: .venv/.compiled ## The gateway beside nginx, LiteLLM, Portkey, TensorZero (BENCH="--quick --only nginx,signalbox")
	$(RUN) python bench/gateway/run.py $(BENCH)

bench-intents: .venv/.synced ## Accuracy, scope and cost of learning from examples (DATA=folder of CSV or JSON)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(RUN) python bench/intents/run.py $(DATA) $(BENCH)

##@ Set-up
.PHONY: setup clean help
setup: .venv/.compiled ## Install everything into .venv

.venv/.synced: uv.lock pyproject.toml $(wildcard */*/pyproject.toml) $(UV)
	@$(need_python)
	@echo "Installing the workspace into .venv (about a minute on a fresh machine) ..."
	$(UV) sync --frozen --compile-bytecode --python $(PYTHON)
	@touch $@

# Compiled when a source is newer, and not at the start, which would take twice as long, and every start where bytecode
# is not kept (PYTHONDONTWRITEBYTECODE).
.venv/.compiled: .venv/.synced $(shell find $(wildcard */*/src) -name '*.py')
	@.venv/bin/python -m compileall -q $(wildcard */*/src)
	@touch $@

.tools/bin/uv:
	@$(need_python)
	@echo "No uv on this machine: installing one under .tools ..."
	@$(PYTHON) -m venv .tools
	@.tools/bin/pip install --quiet --disable-pip-version-check "uv>=0.8"

clean: ## Remove what was installed and built
	rm -rf .venv .tools .signalbox .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# For people who work on paxcommit.  Needs python3 (3.11 or newer, with venv) and make; every
# target sets up the rest by itself, in .venv, and again when pyproject.toml changed.
#
#   make demo  ARGS=--json            servers, kills, and a table at the end
#   make test  ARGS="-k fence -x"     everything that needs no Docker engine
#   make test-containers              the compose file, and PostgreSQL 15 and 18 in containers
#   make lint                         ruff, mypy --strict, import-linter
#   make bench                        every system in one run, as ratios; FULL=1 for the whole cube
#
# What shows that it never half-commits and never blocks (docs/proof.md); each ends in one line of JSON:
#
#   make model                        every state of small worlds, FULL=1 for larger ones
#   make simulate SEEDS=20000         whole clusters in random storms, each repeatable by its seed
#   make mutants                      our mistakes, made on purpose: each must be caught
#   make crashpoints                  a kill at every step, and every message cut three ways
#   make chaos    ARGS="--seed 7"     real servers and processes under 24 kinds of fault
#   make check                        all of this, lint and tests

PYTHON ?= python3
ARGS   ?=
SEEDS  ?= 20000
FULL   ?=
BIN    := .venv/bin
READY  := .venv/.ready

# testcontainers' reaper is an image more to fetch; our clusters remove their containers themselves.
export TESTCONTAINERS_RYUK_DISABLED ?= true

.PHONY: demo test test-containers lint model simulate mutants crashpoints chaos check bench usable

demo: $(READY)
	@$(BIN)/paxcommit demo $(ARGS)

test: $(READY)
	@$(BIN)/pytest -m "not containers" --numprocesses 2 --dist loadfile $(ARGS)

test-containers: $(READY)
	@command -v docker >/dev/null || { echo "make: docker is missing: install Docker Engine with Compose" >&2; exit 1; }
	@docker info >/dev/null || { echo "make: no Docker engine answers: start one, or set DOCKER_HOST" >&2; exit 1; }
	@$(BIN)/pytest -m containers $(ARGS)

lint: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

model: $(READY)
	@$(BIN)/python -m tests.proof.model $(if $(FULL),--full) $(ARGS)

simulate: $(READY)
	@$(BIN)/python -m tests.proof.simulation --seeds $(SEEDS) --jobs 2 $(ARGS)

mutants: $(READY)
	@$(BIN)/python -m tests.proof.mutants $(ARGS)

crashpoints: $(READY)
	@$(BIN)/python -m tests.proof.crashpoints $(ARGS)

chaos: $(READY)
	@$(BIN)/paxcommit chaos $(ARGS)

bench: $(READY)
	@$(BIN)/paxcommit bench $(if $(FULL),--full) --json $(ARGS)

check: lint model simulate mutants crashpoints chaos test

$(READY): pyproject.toml | usable
	@echo "make: setting up .venv (once, and again when pyproject.toml changes) ..." >&2
	@rm -f $(READY)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --editable ".[all]" --group dev
	@touch $(READY)

# An order-only prerequisite: looked at every time, reinstalls nothing by itself.
usable:
	@if [ -e .venv ] && ! { [ -w .venv ] && [ -O .venv ]; }; then \
	  echo "make: .venv was made by another user (`ls -ld .venv | awk '{print $$3}'`):" \
	       "remove it, or use a clone of your own" >&2; exit 1; fi
	@$(BIN)/python -c "import sys, pip; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	  set -e; \
	  command -v $(PYTHON) >/dev/null || { \
	    echo "make: $(PYTHON) is missing: install Python 3.11 or newer, or say make PYTHON=..." >&2; exit 1; }; \
	  $(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	    echo "make: `$(PYTHON) --version` is too old: install Python 3.11 or newer, or say make PYTHON=python3.12" >&2; exit 1; }; \
	  $(PYTHON) -c "import ensurepip, venv" 2>/dev/null || { \
	    echo "make: $(PYTHON) cannot make a virtual environment: apt install python3-venv" >&2; exit 1; }; \
	  $(PYTHON) -m venv --clear .venv; }

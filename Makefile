# Guilder. `make` lists the targets; `make run` and `make test` are all a newcomer needs.
.DEFAULT_GOAL := help
.PHONY: help setup run shell test test-unit test-integration test-api fmt lint types contracts ci bench openapi migration lock clean

BIN := .venv/bin
# What `make test` hands to pytest: MARKS chooses by marker, PYTEST_ARGS is passed on as it stands.
MARKS ?= not long$(if $(T),, and not heavy)
PYTEST_ARGS ?=
# Only these tests, at once and in one process: T=tests/core/test_money.py::test_x, or T="-k reversal".
T ?=
# Where every branch has to be taken, and the tests of that, whole: tracing branches doubles what a test takes, counting lines does not.
FLOOR := guilder/core/*,guilder/db/run.py,guilder/domains/*/rules.py,guilder/domains/*/rules/*,guilder/domains/ledger/*
FLOOR_TESTS := tests/core tests/db tests/domains -m "not long" -k "(ledger or db or ceilings or not routes) and (ledger or db or not postgres)"
TRACED := COVERAGE_CORE=ctrace COVERAGE_FILE=.coverage.branches
# Folders of tests of the whole product, which alone take seconds to load: hardly a pure test is there.
WHOLE := browser cli clients golden hostile house reliability seed
# Three at a time on two cores: a third of the time a test waits for another process.
PYTEST := $(BIN)/pytest -n $(if $(T),0,3 --dist worksteal)
# Where this is set every process compiles all that it imports anew, which takes longer than most tests.
unexport PYTHONDONTWRITEBYTECODE

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

setup: ## Make .venv with the locked packages (done by the other targets too)
	@tools/setup

run: setup ## Migrate, load the demo bank when empty, serve http://localhost:8000 (RELOAD=1 follows the code)
	@exec $(BIN)/guilder demo $(if $(RELOAD),--reload)

shell: setup ## A Python prompt with the bank of `make run` open
	@exec $(BIN)/guilder shell

test: setup $(if $(T),,lint types contracts) ## Lint, types, contracts, then the tests on SQLite and PostgreSQL (only some: T="-k reversal")
	$(PYTEST) -m "$(MARKS)" $(COVERAGE) $(PYTEST_ARGS) $(T)

test-unit: setup ## Pure tests only, with few draws: no database, no network, no process
	$(BIN)/pytest -n 2 --hypothesis-profile=few -m "unit and ($(MARKS))" \
		$(patsubst %,--ignore-glob=*_%.py,commands queries routes) $(WHOLE:%=--ignore=tests/%) $(PYTEST_ARGS)

test-integration: setup ## Tests of commands and queries on real databases
	$(PYTEST) -m "integration and ($(MARKS))" $(PYTEST_ARGS)

test-api: setup ## Tests over HTTP
	$(PYTEST) -m "api and ($(MARKS))" $(PYTEST_ARGS)

fmt: setup ## Mend what Ruff can, then format
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format --quiet .

lint: setup ## Ruff: rules and format
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --check --quiet .

types: setup ## Mypy, strict
	$(BIN)/mypy

contracts: setup ## Who may import whom
	$(BIN)/lint-imports --no-logo

ci: setup ## What CI runs: `make test` with the heavy tests and coverage floors, then a fresh clone
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test COVERAGE="--cov --cov-report="
	$(BIN)/coverage report --fail-under=98
	$(TRACED) $(BIN)/coverage run --branch --concurrency=thread,greenlet -m $(PYTEST:$(BIN)/%=%) $(FLOOR_TESTS)
	$(TRACED) $(BIN)/coverage combine --quiet
	$(TRACED) $(BIN)/coverage report --fail-under=100 --include='$(FLOOR)'
	$(PYTEST) -m "heavy and not long" --ignore=tests/db --ignore=tests/domains/ledger
	$(BIN)/python tools/fresh_clone_check.py

bench: setup ## Measure Guilder, the plain design and pgbench side by side
	$(BIN)/python -m bench

openapi: setup ## Write openapi.json and docs/reference from the code
	$(BIN)/guilder openapi > openapi.json.new && mv openapi.json.new openapi.json
	$(BIN)/python -m tools.reference

migration: setup ## Write migrations/versions/<day>_NAME.py from what the models say anew (NAME=add_cards)
	@$(BIN)/python -m tools.migration "$(NAME)"

lock: ## Compile requirements/*.txt anew from pyproject.toml (UPGRADE=1 takes newer versions)
	@tools/lock $(if $(UPGRADE),--upgrade)

clean: ## Remove the environment and everything tools have made; data/ stays
	rm -rf .venv .uv .clients .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

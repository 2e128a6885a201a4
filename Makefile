# `make help` lists the targets. ARGS goes to pytest: make test ARGS="tests/test_losses.py -x"
# WORKERS: processes that share the tests, file by file; each needs some 3 GB.
SHELL := /bin/bash
PYTEST := .venv/bin/python -m pytest
ARGS ?= tests
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup run test test-slow test-current lint clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## .venv with the dependency set that fits this machine (quick when it is there)
	@scripts/setup.sh

run: setup ## the whole product once: log -> pipeline -> server -> one ranked list, in build/quickstart
	.venv/bin/hrlrec quickstart --workdir build/quickstart

test: setup ## unit tests and one end-to-end run
	$(PYTEST) $(ARGS) -m "not slow" -n $(WORKERS) --dist loadfile --timeout 600

test-slow: setup ## the rest: kills, faults, soak, privacy scan, compiled Kubeflow run, distributed training
	$(PYTEST) $(ARGS) -m slow --timeout 3600

test-current: ## the tests on the current set; below glibc 2.39 as root inside a Debian 13 root
	@scripts/test_current.sh $(ARGS) -m "not slow" -n $(WORKERS) --dist loadfile --timeout 600

lint: ## ruff and mypy
	@scripts/setup.sh lint
	.venv-lint/bin/ruff check .
	.venv-lint/bin/ruff format --check .
	.venv-lint/bin/mypy

clean: ## removes environments, builds and caches
	rm -rf --one-file-system .venv .venv-lint build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .venv.lock .venv-lint.lock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

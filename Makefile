# Every target sets up what it needs. `make demo` and `make test` are all that a fresh machine takes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv
COMPILE := $(UV) pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate

.PHONY: help
help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# --- set-up -----------------------------------------------------------------------------------------------------------

$(VENV)/.bootstrap: infra/bootstrap.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r infra/bootstrap.lock
	touch $@

$(VENV)/.core: $(VENV)/.bootstrap requirements.lock pyproject.toml
	$(UV) pip install --quiet --require-hashes --python $(BIN)/python -r requirements.lock
	$(UV) pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core requirements-dev.lock
	$(UV) pip install --quiet --require-hashes --python $(BIN)/python -r requirements-dev.lock
	touch $@

.PHONY: toolchains
toolchains: $(VENV)/.core  ## install every target's toolchain
	$(BIN)/python -m infra.toolchains

toolchain-%: $(VENV)/.core
	$(BIN)/python -m infra.toolchains $*

.PHONY: lock
lock: $(VENV)/.bootstrap  ## renew the lock files
	$(COMPILE) infra/bootstrap.in -o infra/bootstrap.lock
	$(COMPILE) pyproject.toml --group build -o requirements.lock
	$(COMPILE) worker/stages/requirements.in -o worker/stages/requirements.lock
	$(COMPILE) worker/platforms/intel/requirements.in -o worker/platforms/intel/requirements.lock
	$(COMPILE) pyproject.toml --group build --group dev -c requirements.lock -c worker/stages/requirements.lock \
		-c worker/platforms/intel/requirements.lock -o requirements-dev.lock

.PHONY: clean
clean:  ## remove the environment and caches of this checkout
	rm -rf $(VENV) .pytest_cache .coverage*

# Every target sets up what it needs. `make demo` and `make test` are all that a fresh machine takes.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/python -m uv
INSTALL := $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python
# The environments that `make toolchain-NAME` installs.
TARGETS := onnx $(patsubst worker/platforms/%/requirements.in,%,$(wildcard worker/platforms/*/requirements.in))
TOOLCHAINS := worker/stages/requirements.in $(wildcard worker/platforms/*/requirements.in)
COMPILE := $(UV) pip compile --quiet --upgrade --generate-hashes --no-header --no-annotate

.PHONY: help
help:  ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# --- set-up -----------------------------------------------------------------------------------------------------------

$(VENV)/.bootstrap: infra/bootstrap.lock
	@echo "setting up $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r infra/bootstrap.lock
	@touch $@

$(VENV)/.core: $(VENV)/.bootstrap requirements.lock pyproject.toml
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core requirements-dev.lock
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@

.PHONY: toolchains bundled
toolchains: $(VENV)/.core  ## install every target's toolchain that is no vendor's own (some need root once, for apt-get)
	@$(BIN)/python -m infra.toolchains

bundled: $(VENV)/.core
	@$(BIN)/python -m infra.toolchains --bundled

toolchain-%: $(VENV)/.core
	$(BIN)/python -m infra.toolchains $*

.PHONY: lock
lock: $(VENV)/.bootstrap  ## renew the lock files
	$(COMPILE) infra/bootstrap.in -o infra/bootstrap.lock
	$(COMPILE) pyproject.toml --group build -o requirements.lock
	for source in $(TOOLCHAINS); do overrides=$${source%.in}.overrides; \
		$(COMPILE) $$source --python-version 3.11 $$([ ! -e $$overrides ] || echo --override $$overrides) \
			-o $${source%.in}.lock || exit 1; done
	$(COMPILE) pyproject.toml --group build --group dev -c requirements.lock -c worker/stages/requirements.lock \
		-o requirements-dev.lock

.PHONY: clean
clean:  ## remove the environment and caches of this checkout
	rm -rf $(VENV) .pytest_cache .coverage*

# --- use --------------------------------------------------------------------------------------------------------------

PORT ?= 8000
DATA ?= ./data
WORKERS ?= 1
EVENTS ?= amqp,webhook
# keys: requests have to show a key; open: none does, wherever the gateway listens.
AUTH ?=
ENV := env $(if $(AUTH),MODEL_CONVERT_AUTH=$(AUTH))

.PHONY: demo serve
demo: bundled  ## convert a real model, embedded profile; then everything stops
	@$(BIN)/python -m infra.demo

serve: bundled  ## embedded profile in the foreground (PORT, DATA, WORKERS, AUTH=keys)
	@exec $(ENV) $(BIN)/python -m infra.serve --port $(PORT) --data $(DATA) --workers $(WORKERS)

.PHONY: up down
up: bundled  ## service profile (MongoDB, RabbitMQ, MinIO) in the background (PORT, DATA, WORKERS, EVENTS, AUTH=keys)
	@$(ENV) $(BIN)/python -m infra.up up --data $(DATA)/service --port $(PORT) --workers $(WORKERS) --events $(EVENTS)

down: $(VENV)/.core  ## stop what make up started; data is kept
	@$(BIN)/python -m infra.up down --data $(DATA)/service --port $(PORT)

# --- work on it -------------------------------------------------------------------------------------------------------

.PHONY: check test lint bench chaos
check: lint  ## the quick checks: style, types, and the tests that need no server and no toolchain
	$(BIN)/python -m pytest -q -n auto --dist loadfile tests/unit

ifdef T
# One test, or a folder of them: without the gates, and with the toolchains that its path asks for.
test: $(VENV)/.dev $(if $(findstring tests/e2e,$(T)),bundled) $(if $(findstring tests/toolchains,$(T)),toolchain-onnx) \
		$(patsubst %,toolchain-%,$(filter-out onnx,$(filter $(TARGETS),$(subst /, ,$(T)))))
	$(BIN)/python -m pytest $(T)
else
test: $(VENV)/.dev toolchains lint  ## all tests (T=path::name for one, ALL=1 for every toolchain's); installs what they need
	$(BIN)/python -m infra.servers.debian chromium=chromium curl=curl jq=jq
ifneq ($(ALL)$(CI),)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m tests.suites --all
	$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report --skip-covered
else
	$(BIN)/python -m tests.suites
endif
endif

lint: $(VENV)/.dev  ## style and types of the whole tree
	$(BIN)/ruff check .
	$(BIN)/mypy

RUNS ?= 20
SEED ?= 1
chaos: $(VENV)/.dev  ## randomised faults, repeatable from the seed (RUNS, SEED)
	$(BIN)/python -m tests.chaos --runs $(RUNS) --seed $(SEED)

bench: $(VENV)/.dev toolchains  ## side-by-side ratios (ROWS="a c" for some)
	$(BIN)/python -m tests.bench $(ROWS)

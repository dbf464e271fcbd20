# One file for people and for CI: `make help` lists what it can do.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
#: Says that the environment is what the lock asks for; its name changes with the locks and with what we install by them.
STAMP := $(VENV)/.installed-$(shell cat requirements.lock requirements-bootstrap.lock pyproject.toml deploy/llama/* | cksum | cut -d' ' -f1)
UV_INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python
#: The model server is Python's own: leaving out llama.cpp's programs and its vision part takes the build from 5 minutes to 2.
#: GGML_NATIVE=OFF, given below as a setting that uv's cache heeds: virtual CPUs announce AMX and then fault in it.
LLAMA_CMAKE_ARGS := -DLLAVA_BUILD=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=$(CURDIR)/deploy/llama/nocommon.cmake

#: $(call stage,what it does,command): say it, do it, say how long it took.
define stage
@echo "==> $(1)"; begun=$$SECONDS; $(2) || exit $$?; echo "    done in $$((SECONDS - begun)) s"
endef

.PHONY: help
help: ## Show this text
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) ## Make the environment .venv: once, and again when the lock has changed

$(STAMP): requirements.lock requirements-bootstrap.lock pyproject.toml
	$(call stage,Python environment in $(VENV) by $(PYTHON),$(PYTHON) -m venv $(VENV))
	$(call stage,uv$(comma) which installs the rest,$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bootstrap.lock)
	@awk '/^[^ ]/ {llama = /^llama-cpp-python==/} {print > (llama ? "$(VENV)/llama.lock" : "$(VENV)/others.lock")}' requirements.lock
	$(call stage,packages of requirements.lock,$(UV_INSTALL) --no-deps --require-hashes -r $(VENV)/others.lock)
	$(call stage,llama.cpp: compiled where this is the first time$(comma) about 2 minutes on 2 cores,CMAKE_ARGS="$(LLAMA_CMAKE_ARGS)" $(UV_INSTALL) --no-deps --require-hashes --config-settings-package llama-cpp-python:cmake.define.GGML_NATIVE=OFF -r $(VENV)/llama.lock)
	$(call stage,Penstock itself,$(UV_INSTALL) --no-deps --editable .)
	$(call stage,Kafka: its jars$(comma) and its classes as the JVM needs them$(comma) so that it starts sooner,$(BIN)/python -m penstock.embedded.archive)
	@rm -f $(VENV)/.installed-*; touch $@

comma := ,

.PHONY: demo
demo: install ## Run the examples on a system of their own, show each task live, and stop
	$(BIN)/python -m penstock.demo

.PHONY: up
up: install ## Start everything and keep it running; Ctrl-C stops it
	$(BIN)/penstock up

#: Processes that share the tests; each has a Kafka and a PostgreSQL of its own.
JOBS ?= 2

.PHONY: test
test: install ## Run all tests, on an embedded Kafka and PostgreSQL
	$(BIN)/python -m pytest --numprocesses $(JOBS)

#: As in `make chaos CHAOS="--seed 7 --seconds 600 --tasks 20000 --workers 3"`; docs/chaos.md explains them.
CHAOS ?=

.PHONY: chaos
chaos: install ## Break everything at random for five minutes, and judge; says its seed
	$(BIN)/python -m tests.chaos $(CHAOS)

.PHONY: check
check: install ## Everything that needs no running: format, lint, types, layers, generated documents
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory docs CHECK=--check

#: Each module writes one document from the code that it documents; with --check it fails where that is out of date.
DOCUMENTS := penstock.settings_doc penstock.reference

.PHONY: docs
docs: ## Write the generated documents anew
	@for module in $(DOCUMENTS); do $(BIN)/python -m $$module $(CHECK) || exit 1; done

.PHONY: bench
bench: install peers ## Measure the whole path and other task queues; writes docs/performance.md's table. BENCH="--help" says what else
	$(BIN)/python -m benchmarks --backlog 100000 --document docs/performance.md $(BENCH)

.PHONY: peers
peers: .venv-bench/.installed ## Install Dramatiq and Celery, for `make bench` alone, in an environment of their own

.venv-bench/.installed: requirements-bench.lock | install
	$(PYTHON) -m venv .venv-bench
	$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --no-deps --require-hashes -r requirements-bench.lock
	@touch $@

.PHONY: bench-strategies
bench-strategies: install ## Simulate loads under each strategy, and draw the plots of docs/strategies.md
	$(BIN)/python -m benchmarks.strategies

.PHONY: lock
lock: install ## Resolve requirements.lock anew, and the lock of Kafka's jars
	$(BIN)/uv pip compile pyproject.toml --quiet --upgrade --universal --python-version 3.11 --extra llm --extra subtitles --extra demo-models --extra dev --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file requirements.lock
	echo uv | $(BIN)/uv pip compile - --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file requirements-bootstrap.lock
	$(BIN)/uv pip compile benchmarks/peers/requirements.in --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate --output-file requirements-bench.lock
	$(BIN)/python -m penstock.embedded.jars > penstock/embedded/kafka-jars.lock.new && mv penstock/embedded/kafka-jars.lock.new penstock/embedded/kafka-jars.lock

.PHONY: clean
clean: ## Remove the environment and all caches; data folders stay
	rm -rf $(VENV) .venv-bench build ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Everything here needs Python 3.11 with its venv module (Debian: python3 python3-venv) and nothing else.
# `make` shows what there is.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
# Tests wait more than they compute: four times as many at a time as the machine has cores.
JOBS   ?= $(shell echo $$((4 * $$(nproc))))

.DEFAULT_GOAL := help
.PHONY: help demo test bytecode lint soak platforms bench screenshots reference docs recording lock clean install uninstall

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The stamps are newer than the locked requirements when the environment fits them.
$(VENV)/.run: requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q watcher
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

demo: $(VENV)/.run ## Show the main job on this machine, no account needed: FOLDER=... for your own pictures
	$(BIN)/compressor-watcher demo $${FOLDER:+"$$FOLDER"}

# What pytest makes of the tests' assertions is kept, also where the environment says to keep no bytecode: each process would
# make it anew, for four seconds.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.dev ## Run lint, types, layers and all tests (what the machine lacks is skipped with a reason)
	@$(MAKE) --no-print-directory --jobs 2 lint bytecode
	$(BIN)/python -m pytest -n $(JOBS) --dist loadscope --no-loadscope-reorder --durations 10

# Hundreds of processes are started, and eight collect the tests: none should compile anything anew. What fails here, the run tells.
bytecode: $(VENV)/.dev
	@$(BIN)/python -m compileall -q watcher tests/support
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null 2>&1 || true

lint: $(VENV)/.dev ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: ## Put the service onto this machine (as root); WHEELS=DIR takes packages from there, without a network
	@WHEELS='$(WHEELS)' systemd/install.sh install

uninstall: ## Take the service away again (as root); configuration, state and logs stay
	@systemd/install.sh uninstall

soak: $(VENV)/.dev ## Every fault mixed in, ten minutes, and ten on a machine in trouble; memory, descriptors and threads must be flat
	$(BIN)/python -m pytest -m soak --timeout 1800 --ignore tests/fault/engine
	$(BIN)/python -m pytest --journal postgresql -n $(JOBS) $(ON_POSTGRESQL)
	$(BIN)/python -m pytest --journal postgresql -m soak --timeout 1800 tests/fault/test_crash.py
	$(BIN)/python -m pytest --hypothesis-profile search --timeout 1800 tests/property

# What keeps a journal and is not about hosts, which have theirs there anyway.
ON_POSTGRESQL = $(filter-out %_hosts_at_random.py %_hosts_that_go.py %_failover.py %_shared_journal_away.py,$(wildcard tests/fault/test_*.py)) \
  tests/fault/intake tests/fault/publish/test_staged_leftovers.py tests/fault/records \
  tests/integration/test_*.py tests/integration/delivery tests/integration/intake tests/integration/service

.PHONY: corpus
corpus: $(VENV)/.dev ## Hold the engine against independent decoders over whole test collections (fetched with pip and apt-get)
	$(BIN)/python -m pytest -m soak --timeout 1800 tests/fault/engine

platforms: $(VENV)/.dev ## The container image, and fresh Debian 12, 13 and the next, in roots made by mmdebstrap (as root)
	$(BIN)/python -m pytest -m platforms tests/platforms

bench: $(VENV)/.dev ## Measure against the bars of docs/BENCHMARKS.md
	$(BIN)/python -m benchmarks

screenshots: $(VENV)/.dev ## Make the pictures of the page in docs/ (needs chromium)
	$(BIN)/python -m tests.tools.screenshots docs

reference: $(VENV)/.run ## Write what is made from the code: docs/CONFIGURATION.md, docs/config.schema.json, docs/compressor-watcher.1
	$(BIN)/python -m watcher.config.reference docs
	$(BIN)/python -m watcher.cli.manual docs/compressor-watcher.1

docs: $(VENV)/.dev ## Build the documentation as a site, links checked, into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

recording: $(VENV)/.dev ## Record the demo in a terminal as docs/demo.svg
	$(BIN)/python -m tests.tools.record_demo

lock: ## Lock exact versions with hashes (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --all-extras --group build pyproject.toml -o requirements.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links --all-extras --group build --group dev pyproject.toml -o requirements-dev.txt

clean: ## Remove the environment and what the demo made
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

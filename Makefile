# Two commands do everything: `make demo` and `make test`. The rest is for developers.

ifndef PYTHON
PYTHON := $(shell command -v python3)
endif
UV_VERSION := 0.13.9
UV := .uv/bin/uv
BIN := $(CURDIR)/.venv/bin
READY := .venv/.ready
# The scripts in .venv name its folder: if the checkout is moved, it is made again.
ifneq ($(shell cat .venv/.ready 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif
export PATH := $(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help environment demo test lock check schemas clean

help: ## List these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

environment: $(READY) ## Make .venv from requirements.lock

demo: $(READY) ## Rebuild everything offline on stand-in data, and say where the report is
	snakemake --cores all --quiet rules --config tier=demo
	@echo
	@echo "The report: $(CURDIR)/reports/demo/index.html"

test: $(READY) ## Run the tests, except those marked slow
	python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lock: $(UV) ## Refresh requirements.lock: every platform, hashed, without addresses
	$(UV) pip compile --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
		--upgrade --fork-strategy fewest --all-extras --python-version 3.11 pyproject.toml -o requirements.lock

check: $(READY) ## Lint and type-check as pre-commit does
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy
	lint-imports
	snakemake --lint

schemas: $(READY) ## Write the JSON schemas of the configuration files
	counterpoise schema

# Not data/own, a user's images, nor data/records, used to check files that are fetched again.
clean: ## Remove the environment, downloaded and prepared data, and results
	rm -rf .venv .uv .snakemake data/raw data/prepared results work logs
	find reports -mindepth 1 -maxdepth 1 -type d ! -name reference -exec rm -rf {} +

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
		{ echo "error: $(PYTHON) is not Python 3.11 to 3.13; what to do: make PYTHON=python3.11 ..." >&2; exit 1; }
	$(PYTHON) -m venv .uv
	.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# `sync` also removes what is not in the lock, this project included: it is installed last.
$(READY): requirements.lock pyproject.toml | $(UV)
	$(PYTHON) -m venv --clear --without-pip .venv
	$(UV) pip sync --quiet --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
	$(UV) pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@echo "$(CURDIR)" > $@

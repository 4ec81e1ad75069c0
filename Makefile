# Every target makes .venv if it is missing and installs what it needs there; extras add up in the one environment.
# ARGS goes to the command that a target runs:  make test ARGS="-k wigner"

PYTHON := .venv/bin/python
FRAMEWORK ?= flax
EXAMPLE ?= force_field
ARGS ?=

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test lint bench bench-quick docs clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/.installed-flax,torch,examples  ## Train a force field (FRAMEWORK=flax or torch; EXAMPLE=tetracubes or moment_of_inertia)
	$(PYTHON) docs/examples/$(EXAMPLE).py --framework $(FRAMEWORK) $(ARGS)

test: .venv/.installed-flax,torch,examples,test  ## Run the tests on two processes
	$(PYTHON) -m pytest -n 2 --dist loadfile $(ARGS)

lint: .venv/.installed-flax,torch,checkpoint,lint  ## Check style, format and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench: .venv/.installed-flax,torch,fast,examples,bench  ## Benchmarks: results for asv, tables of ratios to peers and of targets
	cd asv_bench && ../$(PYTHON) -m asv machine --yes > /dev/null
	cd asv_bench && ../$(PYTHON) -m asv run --python=same --set-commit-hash $$(git rev-parse HEAD)
	cd asv_bench && ../$(PYTHON) -m asv publish
	$(PYTHON) -W ignore asv_bench/ratios.py --targets $(ARGS)

bench-quick: .venv/.installed-flax,torch,fast,examples,bench  ## Run every benchmark and peer once on tiny inputs
	$(PYTHON) -W ignore asv_bench/quick.py

docs: .venv/.installed-flax,torch,docs,examples  ## Build the documentation
	$(PYTHON) -m sphinx -W -b html docs docs/_build/html $(ARGS)

clean:  ## Remove what the other targets made, except .venv and runs/
	rm -rf build dist docs/_build docs/generated asv_bench/.asv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find e3any backends adapters tests docs asv_bench -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	python3.11 -m venv .venv || python3 -m venv .venv

# The stem is a list of extras; installed again when the requirements change.
.venv/.installed-%: pyproject.toml constraints.txt | .venv/bin/python
	$(PYTHON) -m pip install -c constraints.txt -e '.[$*]'
	touch $@

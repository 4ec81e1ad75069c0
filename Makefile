# Every target makes .venv if it is missing and installs what it needs there; extras add up in the one environment.
# ARGS goes to the command that a target runs:  make test ARGS="-k wigner"

PYTHON := .venv/bin/python
FRAMEWORK ?= flax
EXAMPLE ?= force_field
MODES ?= triples
ARGS ?=

# What depends most on the versions of array libraries, in files that take seconds.
OLDEST := tests/laws tests/test_layout.py tests/test_checkpoint.py tests/adapters/test_flax.py tests/adapters/test_nnx.py \
	tests/backends/test_jax_kernels.py tests/backends/test_jax_edges.py tests/so3/test_wigner.py \
	tests/so3/test_clebsch_gordan.py tests/nn/layers/test_dense.py tests/nn/layers/test_gate.py

# A part of every layer, adapter and kernel, for the loop of work: files that take seconds, and single tests of others.
# They are named, as collecting all tests takes a minute.
FAST := tests/test_layout.py tests/test_imports.py tests/test_checkpoint.py tests/so3/test_clebsch_gordan.py \
	tests/ops/test_index_lists.py tests/matrix/test_matrix.py::test_leading_axes_are_a_batch tests/nn/test_layer.py \
	tests/nn/layers/test_dense.py tests/nn/layers/test_message_pass.py::test_libraries_agree tests/laws/test_layers.py \
	tests/backends/test_tables.py tests/backends/test_kernel_settings.py tests/backends/test_threads.py \
	tests/backends/test_kernels.py tests/backends/test_jax_kernels.py \
	tests/backends/test_jax_edges.py::test_dtypes_are_kept tests/backends/test_jax_harmonics.py::test_dtypes_are_kept \
	tests/backends/test_jax_linear.py::test_layers_call_kernels_where_vectors_are_filled \
	tests/adapters/test_numpy.py tests/adapters/test_torch.py tests/adapters/test_flax.py tests/adapters/test_nnx.py \
	tests/adapters/test_ase.py tests/adapters/test_trees.py

# What needs the compilers of accelerators, which have an environment of their own, as they are 2 GB.
DEVICES := tests/asv_bench/test_devices.py tests/backends/triton

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-fast test-modes test-oldest test-devices coverage fuzz mutants lint bench bench-quick bench-check \
	bench-devices docs clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: .venv/.installed-flax,torch,examples  ## Train a force field (FRAMEWORK=flax or torch; EXAMPLE=tetracubes or moment_of_inertia)
	$(PYTHON) docs/examples/$(EXAMPLE).py --framework $(FRAMEWORK) $(ARGS)

test: .venv/.installed-flax,torch,examples,test  ## Run the tests on two processes
	$(PYTHON) -m pytest -n 2 --dist loadfile $(ARGS)

test-fast: .venv/.installed-flax,torch,examples,test  ## Run a part of every layer, adapter and kernel: under two minutes
	$(PYTHON) -m pytest -n 2 --dist loadfile $(FAST) $(ARGS)

test-modes: .venv/.installed-flax,torch,examples,test  ## Run layers in all modes at all sizes (MODES=triples or product; hours)
	E3ANY_MODES=$(MODES) $(PYTHON) -m pytest -n 2 --dist load tests/modes $(ARGS)

test-oldest: .venv-oldest/.installed  ## Run a part of the tests with the oldest versions of the array libraries
	.venv-oldest/bin/python -m pytest -n 2 --dist loadfile $(OLDEST) $(ARGS)

test-devices: .venv-devices/.installed  ## Compile for an H200 and a TPU v5e, and run kernels for GPUs in Triton's interpreter
	JAX_PLATFORMS=cpu nice .venv-devices/bin/python -m pytest -n 2 --dist loadfile $(DEVICES) $(ARGS)

coverage: .venv/.installed-flax,torch,examples,test  ## Run the tests and show which branches they do not reach
	$(PYTHON) -m pytest -n 2 --dist loadfile --cov --cov-report= $(ARGS)
	$(PYTHON) -m coverage report --show-missing --skip-covered --fail-under=95

fuzz: .venv/.installed-flax,torch,examples,test  ## Compare random calls with references (ARGS="--cases 3000 --seed 1 --library torch")
	PYTHONPATH=tests nice $(PYTHON) -m fuzz $(ARGS)

mutants: .venv/.installed-flax,torch,examples,test,mutants  ## Change the library in 120 places, one by one, and count what tests notice
	nice $(PYTHON) tests/mutants.py $(ARGS)

lint: .venv/.installed-flax,torch,checkpoint,lint  ## Check style, format and types, those of the programs in README.md too
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	$(PYTHON) docs/stubs.py --check
	$(PYTHON) docs/readme_types.py

bench: .venv/.installed-flax,torch,examples,bench  ## Benchmarks: results for asv, tables of ratios to peers and of targets
	cd asv_bench && ../$(PYTHON) -m asv machine --yes > /dev/null
	cd asv_bench && ../$(PYTHON) -m asv run --python=same --set-commit-hash $$(git rev-parse HEAD)
	cd asv_bench && ../$(PYTHON) -m asv publish
	$(PYTHON) -W ignore asv_bench/ratios.py --targets $(ARGS)

bench-quick: .venv/.installed-flax,torch,examples,bench  ## Run every benchmark and peer once on tiny inputs
	$(PYTHON) -W ignore asv_bench/quick.py

bench-check: .venv/.installed-flax,torch,examples,bench  ## Fail where a figure of programs on accelerators has grown (ARGS="--update --ratios")
	JAX_PLATFORMS=cpu nice $(PYTHON) -W ignore asv_bench/check.py $(ARGS)

bench-devices: .venv/.installed-flax,torch,examples,bench,accelerators  ## What programs do on an H200 and a TPU v5e, beside peers; no device is needed
	JAX_PLATFORMS=cpu nice $(PYTHON) -W ignore asv_bench/device_table.py $(ARGS)

docs: .venv/.installed-flax,torch,docs,examples  ## Build the documentation
	$(PYTHON) -m sphinx -W -b html docs docs/_build/html $(ARGS)

clean:  ## Remove what the other targets made, except .venv and runs/
	rm -rf build dist docs/_build docs/generated asv_bench/.asv .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find e3any backends adapters tests docs asv_bench -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	python3.11 -m venv .venv || python3 -m venv .venv

.venv-oldest/.installed: pyproject.toml constraints.txt tests/oldest_versions.py
	python3.11 -m venv .venv-oldest || python3 -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install packaging
	.venv-oldest/bin/python tests/oldest_versions.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install -c constraints.txt -c .venv-oldest/constraints.txt -e '.[flax,torch,test]'
	touch $@

.venv-devices/.installed: pyproject.toml constraints.txt
	python3.11 -m venv .venv-devices || python3 -m venv .venv-devices
	.venv-devices/bin/python -m pip install -c constraints.txt -e '.[flax,torch,test,accelerators]'
	touch $@

# The stem is a list of extras; installed again when the requirements change.
.venv/.installed-%: pyproject.toml constraints.txt | .venv/bin/python
	$(PYTHON) -m pip install -c constraints.txt -e '.[$*]'
	touch $@

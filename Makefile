# Each recipe is a few lines; `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
REPOSITORY ?= build/miniature
WORKERS ?= 2
CHECKPOINT := miniature/weights
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-long test-unit check fix serve gateway bench soak gpu-check clean

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

setup: $(READY)  ## make the virtual environment with everything pinned

$(READY): pyproject.toml constraints.txt client/pyproject.toml gateway/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13) and "Python 3.10 to 3.13 is needed, PYTHON=" + sys.executable + " is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade "pip>=25.1"
	$(PY) -m pip install --quiet --progress-bar on --constraint constraints.txt --group dev --editable ./client --editable './gateway[c2pa,postgresql]'
	$(PY) -m pip install --quiet --constraint constraints.txt --no-deps insightface
	touch $@

build/.miniature-exported: $(READY) $(shell find $(CHECKPOINT) -type f) $(wildcard insta_depth_shared/*.py export/*.py export/*/*.py model_repository/*/* model_repository/*/1/*.py model_repository/*/1/*/*.py)
	$(PY) -m export onnx --checkpoint $(CHECKPOINT) --output build/miniature --max-side 192
	touch $@

demo: build/.miniature-exported  ## export the miniature checkpoint and make a picture through real Triton
	$(PY) -m deploy.local.demo --checkpoint $(CHECKPOINT) --repository build/miniature --output build/demo

test: build/.miniature-exported  ## run the tests; those that need a GPU skip with a reason
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not long"

test-long: build/.miniature-exported  ## run those that take long: whole exports, mutations, kills, fused kernels
	$(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m long

test-unit: $(READY)  ## run the tests that need no server and no export, without the slow ones
	$(PY) -m pytest -p no:schemathesis -n $(WORKERS) --dist loadfile --no-loadscope-reorder tests/unit tests/contract -m "not slow and not exported and not long"

check: $(READY)  ## lint and types; changes nothing
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

fix: $(READY)  ## format, repair what lint can, write docs/openapi.json
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(PY) -m insta_depth_gateway.openapi > docs/openapi.json

serve: build/.miniature-exported  ## serve REPOSITORY=build/<name> on 127.0.0.1 until Ctrl-C
	$(PY) -m deploy.local serve $(REPOSITORY)

gateway: $(READY)  ## start the documented HTTP API on 127.0.0.1:8080, in front of the Triton of `make serve`
	$(PY) -m insta_depth gateway

bench: build/.miniature-exported  ## measure: side by side with PyTorch, under load, start, memory, scaling; more than an hour on two cores
	$(PY) -m benchmarks all --repository build/miniature

soak: build/.miniature-exported  ## half an hour of mixed load, while every process is killed and resources run out
	$(PY) -m benchmarks.soak --repository build/miniature

gpu-check:  ## on a CUDA GPU: one step in PyTorch, ONNX Runtime, TensorRT and through Triton; needs no network
	$(if $(wildcard $(PY)),$(PY),$(PYTHON)) -m benchmarks.gpu_check $(GPU_CHECK)

clean:  ## delete everything that was made
	rm -rf build $(VENV)

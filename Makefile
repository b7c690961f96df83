# Each target sets up what it needs: see tools/setup.sh.
VENV ?= .venv
export VENV

bin := $(VENV)/bin
# Tests that open windows need a display; where there is none, one in memory.
display := $(if $(DISPLAY)$(filter-out Linux,$(shell uname -s)),,xvfb-run -a -s "-screen 0 1600x1200x24 +extension GLX")

.PHONY: help demo test lint bench gpu soak clean

help:
	@echo "make demo    simulate plates, train, profile, evaluate; writes demo/report.html"
	@echo "make test    lint, then all tests but the long ones"
	@echo "make lint    style, types, the import contract, the plugin's manifest"
	@echo "make bench   the benchmarks, for hours: each prints its machine, its peer and a ratio"
	@echo "make gpu     the tests and the benchmarks that are for this machine's GPU"
	@echo "make soak    the long versions of tests"
	@echo "make clean   remove the environment, caches and the demo"

demo:
	@sh tools/setup.sh demo
	$(bin)/sslprofiler demo --out demo

test: lint
	$(display) $(bin)/python -m pytest -m "not soak" -n 2 --dist loadgroup

lint:
	@sh tools/setup.sh test
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/npe2 validate --imports src/napari_sslprofiler/napari.yaml

soak:
	@sh tools/setup.sh test
	$(display) $(bin)/python -m pytest -m soak

bench:
	@sh tools/setup.sh bench
	@set -e; for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(display) $(bin)/python "$$script"; done

gpu: export SSLPROFILER_GPU := 1
gpu:
	@sh tools/setup.sh bench
	$(bin)/python -m pytest -m gpu
	$(bin)/python benchmarks/augment.py --device cuda --quick
	$(bin)/python benchmarks/losses.py --device cuda
	$(bin)/python benchmarks/train.py --device cuda --model paper-vits14
	$(bin)/python benchmarks/train.py --device cuda --model paper-vitb14 --checkpointing
	$(bin)/python benchmarks/profiles.py --device cuda --only embedding

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

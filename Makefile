# make install · make demo · make test · make test-processors · make lint · make docs · make nuscenes-parity · make cuda-compile
# make gpu-check · make clean
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
SEED   ?= 0
RUN    ?= runs/demo$(if $(filter-out 0,$(SEED)),_seed$(SEED))

# Builds in isolation are pinned too; older and newer pip read different names.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

# See lidar_ebm/cli/command.py: spinning threads are slow where anything else runs.
export GOMP_SPINCOUNT ?= 1000

# With viz, browser and docs too, tests of pictures, of the window, of the report's page and of the site are run, not
# left out.
TEST_EXTRAS ?= cpu,test
comma := ,

# For example https://download.pytorch.org/whl/cpu, whose torch comes without gigabytes of CUDA.
TORCH_INDEX ?=

.PHONY: install demo test test-processors lint docs nuscenes-parity cuda-compile gpu-check clean

# What the native libraries are made from: a change builds them anew.
NATIVE := $(wildcard cuda_ops/CMakeLists.txt cuda_ops/*.h cuda_ops/*.cuh cuda_ops/*.cpp cuda_ops/*.cu cuda_ops/*/*.h cuda_ops/*/*.cpp cuda_ops/*/*.cu)

# A stamp per extra, so that neither command installs what is there and up to date.
$(VENV)/.installed: pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
		{ echo "$(PYTHON) is not Python 3.10 to 3.13: name one that is, for example make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "$(PYTHON) cannot make a virtual environment: install python3-venv (apt-get install python3-venv)"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar on $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch -e '.[cpu]'
	@touch $@

INSTALLED_TEST := $(VENV)/.installed-$(subst $(comma),-,$(TEST_EXTRAS))

$(INSTALLED_TEST): $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[$(TEST_EXTRAS)]'
	@touch $@

install: $(VENV)/.installed

demo: install
	$(BIN)/python tools/demo.py --out $(RUN) --seed $(SEED)

lint: $(INSTALLED_TEST)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@# Python 3.10 has the last numpy and matplotlib for it, whose types say otherwise than those of the others.
	@if $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then echo $(BIN)/mypy; $(BIN)/mypy; \
		else echo "mypy: left out on Python 3.10"; fi

test: lint
	$(BIN)/pytest -n 2

# The official program for nuScenes, which needs numpy below 2 and so an environment of its own.
NUSCENES_VENV := .venv-nuscenes
NUSCENES_SETS ?=

$(NUSCENES_VENV)/.installed:
	@test -x $(NUSCENES_VENV)/bin/python || $(PYTHON) -m venv $(NUSCENES_VENV)
	env -u PIP_CONSTRAINT $(NUSCENES_VENV)/bin/python -m pip install --disable-pip-version-check -q 'numpy<2' 'nuscenes-devkit==1.2.0'
	@touch $@

# Its figures beside ours, of a simulated database and of those in NUSCENES_SETS.
nuscenes-parity: install $(NUSCENES_VENV)/.installed
	$(BIN)/python tools/nuscenes_parity.py --python $(NUSCENES_VENV)/bin/python --simulate $(if $(NUSCENES_SETS),--sets $(NUSCENES_SETS))

# A part of the tests as other processors would compute it; minutes.
test-processors: $(INSTALLED_TEST)
	PYTHON=$(BIN)/python tools/test_processors.sh

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check -q -e '.[docs]'
	@touch $@

# The pages as a site in site/, which asks no other host for anything. (--quiet would hide warnings from --strict.)
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The CUDA library for every architecture, on a machine with nvcc; no GPU is needed.
cuda-compile:
	cmake -S cuda_ops -B build/cuda -DLIDAR_EBM_CUDA=ON
	cmake --build build/cuda --parallel

gpu-check:
	PYTHON=$(PYTHON) tools/gpu_check.sh

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist site
	find lidar_ebm cuda_ops tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

#!/usr/bin/env bash
# Everything that needs a GPU, without network: build the CUDA library, test on the device, measure (`make gpu-check`).
#
# PYTHON names a Python that has torch with CUDA, WHEELS a folder of wheels for what else it lacks (pyproject.toml), and
# RESULTS where the tests' log and the table go.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
build=build/gpu
results=${RESULTS:-tools/benchmarks/results}
unset PIP_CONSTRAINT PIP_BUILD_CONSTRAINT  # the versions here are the machine's own

"$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' || {
  echo "$python has no torch that sees a CUDA GPU: name one that has, for example make gpu-check PYTHON=python3.12" >&2
  exit 2
}
mkdir -p "$build" "$results"
export PYTHONPATH=$PWD
if [ -n "${WHEELS:-}" ]; then
  "$python" -m pip install -q --no-index --no-deps --upgrade --target "$build/site" "$WHEELS"/*.whl
  export PYTHONPATH=$PWD:$PWD/$build/site
fi
"$python" -c 'import numba, numpy, omegaconf, pydantic, pytest, safetensors, scipy, shapely, typer, yaml, lightning_fabric' || {
  echo "$python lacks a package: put its wheel, and those it needs, into a folder and name that, WHEELS=DIR" >&2
  exit 2
}

cmake -S cuda_ops -B "$build" -DLIDAR_EBM_CUDA=ON -DCMAKE_CUDA_ARCHITECTURES=native
cmake --build "$build" --parallel
export LIDAR_EBM_NATIVE_DIR=$PWD/$build

failed=0
"$python" -m pytest tests/cuda_ops tests/detector tests/energy tests/ebm 2>&1 | tee "$results/gpu_tests.log" || failed=1
"$python" tools/benchmarks/kernels.py --device cuda --out "$results/kernels_gpu.md"
exit $failed

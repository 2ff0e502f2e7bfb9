#!/usr/bin/env bash
# Tests whose figures a library adds up, as other processors would compute them: make test-processors
#
# Which instructions torch, oneDNN, MKL, numpy and our own libraries use is set by their environment variables, so one
# machine stands for several. On a processor that is not Intel's, MKL takes other code altogether: a function of its own
# that says which it is gets replaced, where there is a C compiler. Runs on PYTHON (python3), from anywhere.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}

PARTS=(
  tests/ebm/test_{adaptive_sampling,ascent,grid,langevin,multi_start,random_numbers,sampling,step_rules,uncertainty}.py
  tests/energy/test_{box_features,captured_refinement,energy_head,methods,refinement}.py
  tests/detector
  tests/cuda_ops
  tests/geometry
  tests/inference/test_{detection,predict}.py
  tests/runs/test_model.py
  tests/training/test_step.py
)
# What only costs time here: derivatives by differences, torch's own checks of a registration, learning, forks.
LEFT_OUT="not gradcheck and not opcheck and not registration and not registered and not learn and not fork"

as_intel=()
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
if echo 'int mkl_serv_intel_cpu_true(void) { return 1; }' |
  "${CC:-cc}" -x c -shared -fPIC -o "$folder/as_intel.so" - 2> "$folder/said"; then
  as_intel=(LD_PRELOAD="$folder/as_intel.so")
else
  echo "No C compiler: MKL keeps to what it does on this processor."
fi
# What numpy would choose beyond its baseline; its names differ from version to version.
plain_numpy=$("$PYTHON" - << 'EOF'
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
print(" ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name)))
EOF
)

run() { # NAME THREADS VARIABLE=VALUE...
  local name=$1 threads=$2 workers=2
  shift 2
  [ "$threads" = 1 ] || workers=0 # where a test has both cores, it has them alone
  echo "== $name, threads: $threads; $*"
  env ${as_intel[@]+"${as_intel[@]}"} OMP_NUM_THREADS="$threads" "$@" "$PYTHON" -m pytest -p no:cacheprovider -n "$workers" \
    -k "$LEFT_OUT" "${PARTS[@]}"
}

run "as it is" 1
run "AVX2" 2 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 LIDAR_EBM_NATIVE_LEVEL=AVX2
run "baseline" 1 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
  LIDAR_EBM_NATIVE_LEVEL=DEFAULT NPY_DISABLE_CPU_FEATURES="$plain_numpy"
run "MKL's order of sums that any of Intel's has" 2 MKL_CBWR=COMPATIBLE

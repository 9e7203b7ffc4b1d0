#!/usr/bin/env bash
# Measures the backends suite's promises on one GPU, JOBS processes at a time, in LIMIT seconds; each keeps what it has.
# Usage: reports/gpu/backends.sh OUT [FOLDER with OpenEquivariance installed]; ONLY=PATTERN chooses processes by name.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=$1 oeq=${2:-}
mkdir -p "$out"
export OMP_NUM_THREADS=1 TORCHINDUCTOR_COMPILE_THREADS=2 PYTHONPATH="fixtures${PYTHONPATH:+:$PYTHONPATH}" PYTHONWARNINGS=ignore
until=$(($(date +%s) + ${LIMIT:-540}))

one() { # NAME COMMAND: runs it in what is left of the time
  local left=$((until - $(date +%s)))
  [ "$left" -lt 20 ] && { echo "$1: no time left"; return; }
  timeout "$left" bash -c "$2" >"$out/$1.txt" 2>&1
  echo "$1: $? after $((left - until + $(date +%s))) s"
}
export -f one
export until out

measure="python3 reports/gpu/measure_backends.py $out/measured cuda"
executions="python3 reports/gpu/measure_executions.py $out/executions cuda"
suite="python3 -m pytest suites/backends --benchmark-only -q -p no:cacheprovider --mace-device cuda"
detect="python3 -m mace_conformance detect --scope breaks --jobs 3"
whole="--mace-plan qualify"
all() { # one line for each process, the most important first
  for name in e3nn:fp32 e3nn:fp64 cueq:fp32; do echo "compiled-${name/:/-}|$executions compiled:$name"; done
  for name in e3nn:fp32 e3nn:fp64 cueq:fp32; do echo "calculator-${name/:/-}|$executions compiled:$name:calculator"; done
  echo "suite-gate|$suite --mace-report $out/suite-gate"
  echo "detect|$detect --plan qualify --scope own --cases water8-residual-fp64-e3nn-compiled,water8-density_heads2@pbe-fp64-e3nn-compiled,water8-density_heads2@pbe-fp64-cueq-compiled --out $out/detect --faults graph-broken,sizes-static,backward-lost,compiled-forces-scaled"
  echo "naive|$detect --out $out/naive --faults convolution-naive"
  echo "audit|$suite $whole --mace-quantity 'backends.audit.*' --mace-quantity backends.conversion.wheels --mace-report $out/audit"
  if [ -n "$oeq" ]; then
    echo "suite-oeq|PYTHONPATH=$oeq:\$PYTHONPATH $suite $whole --mace-backend e3nn --mace-backend oeq --mace-backend hybrid --mace-quantity 'backends.conversion.[!auw]*' --mace-quantity 'backends.parity.variants.*' --mace-quantity 'backends.audit.*' --mace-model residual --mace-model density-heads2 --mace-report $out/suite-oeq"
    echo "oeq|PYTHONPATH=$oeq:\$PYTHONPATH $executions openequivariance:off24m openequivariance:medium-l2"
  fi
  for name in heads3-l2 nonlinear-heads2 density-heads2 old-edge-irreps medium-l2; do echo "heads-$name|$measure heads:$name"; done
  for name in medium off24m medium-l2 medium-nonlinear; do echo "full-$name|$measure full_size:$name"; done
  for name in residual density-heads2 medium; do echo "variants-$name|$measure variants:$name"; done
  for seed in $(seq 1 20); do
    echo "parity-$seed|$suite --mace-seed $seed --mace-quantity 'backends.parity.*' --mace-quantity 'backends.exports.*' --mace-quantity 'backends.conversion.*' --mace-report $out/parity-$seed"
  done
  for policy in fp32 fp64; do
    for name in e3nn cueq; do
      echo "process-$name-$policy|$measure process:$name:$policy && $measure process:$name:$policy"
      echo "kernels-$name-$policy|$measure kernels:$name:$policy repeatability:medium:$name:$policy"
    done
  done
  for seed in 1 2 3; do echo "recorded-$seed|$suite --mace-seed $seed --mace-quantity 'backends.executions.*' --mace-report $out/recorded-$seed"; done
  echo "variants-suite|$suite $whole --mace-quantity 'backends.parity.variants.*' --mace-report $out/variants-suite"
  echo "compiled-suite|$suite $whole --mace-quantity 'backends.compiled.*' --mace-report $out/compiled-suite"
}
all | grep -E "^(${ONLY:-.*})\|" | xargs -P "${JOBS:-16}" -d '\n' -n 1 bash -c 'one "${1%%|*}" "${1#*|}"' _ | tee "$out/times.log"

#!/usr/bin/env bash
# Small trainings on one GPU, several at a time; a second call goes on where the first was cut off.
# Usage: reports/training/run.sh OUT [further words of `python -m mace_conformance train`]
set -uo pipefail
out=$1
shift
here=reports/runs/training
mkdir -p "$here" "$out"
export OMP_NUM_THREADS=1 PYTHONPATH="fixtures:${PYTHONPATH:-}"
(while sleep 5; do cp -f "$here/trainings.jsonl" "$out/" 2>/dev/null; done) &
copier=$!
python3 -m mace_conformance train --device cuda --out "$here" --jobs 15 --epochs 60 --seeds 5 \
  --seconds 330 "$@" | tee "$out/study.md"
code=${PIPESTATUS[0]}
kill "$copier"
cp -f "$here/trainings.jsonl" "$out/"
tail -n 3 "$here"/*/output.txt > "$out/last-words.txt"
exit "$code"

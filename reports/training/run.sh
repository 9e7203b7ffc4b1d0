#!/usr/bin/env bash
# Small trainings, several at a time; a second call goes on where the first was cut off.
# Usage: reports/training/run.sh OUT [words of `python -m mace_conformance train`]
# OUT/trainings.jsonl of an earlier call, if there is one, says what need not be done again.
set -uo pipefail
out=$1
shift
here=$(mktemp -d)
mkdir -p "$out"
cp -f "$out/trainings.jsonl" "$here/" 2>/dev/null
export OMP_NUM_THREADS=1 PYTHONPATH="fixtures:${PYTHONPATH:-}"
(while sleep 5; do cp -f "$here/trainings.jsonl" "$out/" 2>/dev/null; done) &
copier=$!
trap 'kill "$copier"; cp -f "$here/trainings.jsonl" "$out/"' EXIT
python3 -W ignore -m mace_conformance train --out "$here" "$@" > "$out/study.md"
code=$?
cp -f "$here/curves.svg" "$out/" 2>/dev/null
tail -n 3 "$here"/*/output.txt > "$out/last-words.txt"
(cd "$here" && tar -czf "$out/curves.tgz" ./*/results)
exit "$code"

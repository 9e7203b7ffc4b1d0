#!/usr/bin/env bash
# Runs the plan, writes the job's summary and the verdict, and ends with the run's exit code.
set -uo pipefail
python="${MACE_PYTHON:-python}"
report="${MACE_REPORT:-mace-conformance-report}"
read -r -a options <<< "${MACE_OPTIONS:-}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"

"$python" -m pytest --pyargs mace_conformance.suites --benchmark-only \
  --mace-target "${MACE_TARGET:-mace}" --mace-plan "${MACE_PLAN:-gate}" \
  --mace-report "$report" "${options[@]}"
code=$?

if [ -f "$report/report.md" ]; then
  [ -n "${GITHUB_STEP_SUMMARY:-}" ] || cat "$report/report.md" # there the run itself wrote it
  verdict="$(sed -n '1s/.*: \([[:alpha:]]*\).*/\1/p' "$report/report.md")"
else
  echo "mace-conformance ended with exit code $code before it judged anything." \
    >> "${GITHUB_STEP_SUMMARY:-/dev/stdout}"
  verdict=NONE
fi
echo "verdict=$verdict" >> "${GITHUB_OUTPUT:-/dev/null}"
exit "$code"

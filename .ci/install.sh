#!/usr/bin/env bash
# Installs the suite beside the fork. The fork's own torch and mace stay what they are.
set -euo pipefail
python="${MACE_PYTHON:-python}"
"$python" -m pip install --quiet ${MACE_PIP_OPTIONS:-} "$GITHUB_ACTION_PATH"
"$python" -m mace_conformance doctor

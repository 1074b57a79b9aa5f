#!/usr/bin/env bash
# From a fresh clone to a distilled, exported detector: makes .venv, installs the pinned requirements, runs the main job.
set -euo pipefail
cd "$(dirname "$0")"
. tools/venv.sh requirements.txt
exec python -m ppkd quickstart "$@"

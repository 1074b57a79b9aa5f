#!/usr/bin/env bash
# Lint, types and all tests, in the clone's own virtual environment. Arguments go to pytest: tests/run.sh -m "not slow"
# Two processes share the tests: most of them compute with one thread.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/venv.sh requirements-dev.txt

ruff check .
ruff format --check .
mypy
python -m pytest -n 2 --dist worksteal "$@"

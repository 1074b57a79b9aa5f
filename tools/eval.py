"""Evaluate a trained detector."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.eval import command

if __name__ == "__main__":
    sys.exit(command())

"""Print which distillation loss goes with which detectors, what it consumes and its paper."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.methods import command

if __name__ == "__main__":
    sys.exit(command())

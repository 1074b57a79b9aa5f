"""Compare methods of distillation on one pair of detectors: every seed, intervals; goes on where it stopped."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.compare import command

if __name__ == "__main__":
    sys.exit(command())

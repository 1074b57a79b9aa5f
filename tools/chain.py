"""Train a chain of detectors, each distilled from the one before it; goes on where it stopped."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.chain import command

if __name__ == "__main__":
    sys.exit(command())

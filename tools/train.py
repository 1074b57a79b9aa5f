"""Train a detector, alone or distilled from a teacher."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.train import command

if __name__ == "__main__":
    sys.exit(command())

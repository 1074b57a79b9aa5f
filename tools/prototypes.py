"""Draw the prototypes of a run with a GlobalKnowledge loss: the instances that stand for each class."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.prototypes import command

if __name__ == "__main__":
    sys.exit(command())

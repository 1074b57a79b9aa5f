"""Draw the shapes data set: a small COCO-format set of shapes on cluttered backgrounds, the same for the same seed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.draw_shapes import command

if __name__ == "__main__":
    sys.exit(command())

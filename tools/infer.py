"""Detect objects in pictures with a trained detector: draws boxes, class names and scores."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.infer import command

if __name__ == "__main__":
    sys.exit(command())

"""Detect objects in pictures or a video with an exported model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ppkd.cli.deploy import command

if __name__ == "__main__":
    sys.exit(command())

"""Find anchors of YOLOv3 for the boxes of TrainDataset: prints them as a configuration takes them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.anchors import command

if __name__ == "__main__":
    sys.exit(command())

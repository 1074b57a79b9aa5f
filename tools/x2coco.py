"""Write annotations of VOC, labelme or Cityscapes as COCO json files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.to_coco import command

if __name__ == "__main__":
    sys.exit(command())

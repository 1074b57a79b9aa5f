"""Cut the pictures of a COCO data set into slices, for training on objects that are small in them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.slice_image import command

if __name__ == "__main__":
    sys.exit(command())

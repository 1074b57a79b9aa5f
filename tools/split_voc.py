"""Make the lists trainval.txt and test.txt (and label_list.txt) of a VOC folder with JPEGImages/ and Annotations/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.split_voc import command

if __name__ == "__main__":
    sys.exit(command())

"""Find the method that helps a student on its data: what fits is probed, tried in pilots, confirmed; resumable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.recommend import command

if __name__ == "__main__":
    sys.exit(command())

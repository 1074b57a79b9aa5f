"""The main job on a drawn data set: teacher, student, distilled student, evaluation, export, pictures, summary."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.quickstart import command

if __name__ == "__main__":
    sys.exit(command())

"""Write the page about a training run: report.html in its folder; one file that needs no network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.report import command

if __name__ == "__main__":
    sys.exit(command())

"""Compare models on engines: latency, size, memory and AP, in one table and one picture."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.benchmark import command

if __name__ == "__main__":
    sys.exit(command())

"""Show where the losses of a distillation act: maps, gradients and disagreement on images, in explain.html."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.explain import command

if __name__ == "__main__":
    sys.exit(command())

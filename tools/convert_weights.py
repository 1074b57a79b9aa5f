"""Write weights as .pdparams or .safetensors, with the student alone and the names of its classes."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.convert import command

if __name__ == "__main__":
    sys.exit(command())

"""Export a trained detector: to Paddle Inference, or to one ONNX file with a script that runs it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.cli.export import command

if __name__ == "__main__":
    sys.exit(command())

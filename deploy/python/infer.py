"""Detect objects in pictures or a video with an exported model.

ONNX models need NumPy, OpenCV and an engine alone: where Paddle is not installed, the modules that `ppkd export` puts
beside them are made of this clone for the time of the run.
"""

import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


def main() -> int:
    """Run the command; returns its exit code."""
    if _installed("paddle"):
        from ppkd.cli.deploy import command

        return command()
    from ppkd.deploy.standalone import write_standalone

    with tempfile.TemporaryDirectory(prefix="ppkd-detect-") as folder:
        write_standalone(Path(folder))
        sys.path.insert(0, folder)
        code: int = import_module("detect.cli.deploy").command()
        return code


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ImportError:
        return False


if __name__ == "__main__":
    sys.exit(main())

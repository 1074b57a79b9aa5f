"""The command `ppkd deploy` for ONNX files as a script that needs NumPy, OpenCV and an engine, neither ppkd nor Paddle.

It is made of the modules that `ppkd deploy` itself runs, under another package's name, so that there is one
implementation of each thing.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import ppkd
from ppkd.utils.errors import WeightsError

PACKAGE = "detect"
SCRIPT = "infer.py"
ROOTS = (
    "ppkd.cli.deploy",
    "ppkd.deploy.onnx_predictor",
    "ppkd.deploy.pictures",
    "ppkd.deploy.results",
    "ppkd.deploy.slices",
    "ppkd.deploy.video",
)
"""The command, and what it imports when it is called for."""

_HOME = Path(ppkd.__file__).parent
_IMPORT = re.compile(r"^(\s*(?:from|import) )ppkd(?=[. ])", re.MULTILINE)
_SCRIPT = f'''"""Detect objects in pictures, a video or a camera with the ONNX model in this folder.

Needs numpy, opencv-python-headless, and onnxruntime or openvino.
"""

import sys
from pathlib import Path

from {PACKAGE}.cli.deploy import command

if __name__ == "__main__":
    model = [] if any(each.split("=")[0] == "--model_dir" for each in sys.argv[1:]) else ["--model_dir"]
    here = [str(Path(__file__).resolve().parent)] if model else []
    sys.exit(command([*model, *here, *sys.argv[1:]]))
'''


def write_standalone(folder: Path) -> None:
    """Write ``infer.py`` and the folder ``detect`` of its modules into ``folder``, in place of older ones.

    Raises :class:`WeightsError` for a folder that cannot be written.
    """
    try:
        shutil.rmtree(folder / PACKAGE, ignore_errors=True)
        for module in sorted(modules()):
            target = folder / PACKAGE / _file(module).relative_to(_HOME)
            target.parent.mkdir(parents=True, exist_ok=True)
            # Namespace packages need no __init__.py, and those of ppkd import what is not here.
            target.write_text(
                _IMPORT.sub(rf"\g<1>{PACKAGE}", _file(module).read_text(encoding="utf-8")), encoding="utf-8"
            )
        (folder / SCRIPT).write_text(_SCRIPT, encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"cannot write {SCRIPT} into {folder}: {error.strerror or error}") from error


def modules() -> set[str]:
    """The modules of ppkd that the script is made of: ``ROOTS`` and what these import when they are imported."""
    found: set[str] = set()
    left = list(ROOTS)
    while left:
        module = left.pop()
        if module not in found:
            found.add(module)
            left += _imported(module)
    return found


def _imported(module: str) -> Iterator[str]:
    for node in ast.parse(_file(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "ppkd":
            inside = [f"{node.module}.{alias.name}" for alias in node.names]
            submodules = [name for name in inside if _file(name).is_file()]
            yield from submodules or [node.module]


def _file(module: str) -> Path:
    return _HOME.joinpath(*module.split(".")[1:]).with_suffix(".py")

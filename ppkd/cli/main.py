"""Knowledge distillation of object detectors on PaddlePaddle."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from collections.abc import Sequence
from types import ModuleType

from ppkd import __version__
from ppkd.utils.errors import nearest

NAMES = (
    "init",
    "train",
    "eval",
    "infer",
    "label",
    "export",
    "deploy",
    "benchmark",
    "compare",
    "recommend",
    "chain",
    "report",
    "explain",
    "methods",
    "teacher",
    "convert",
    "prototypes",
    "anchors",
    "draw-shapes",
    "split-voc",
    "to-coco",
    "slice-image",
    "quickstart",
    "doctor",
)
"""The commands: ``draw-shapes`` is ``ppkd/cli/draw_shapes.py``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``ppkd COMMAND ...``; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in NAMES:
        return _module(arguments[0]).command(arguments[1:], prog=f"ppkd {arguments[0]}")
    overview = _overview()
    if not arguments:
        overview.print_help()
        return 2
    name = overview.parse_args(arguments[:1]).command
    print(f"error: there is no command '{name}'{nearest(name, NAMES)}", file=sys.stderr)
    return 2


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"ppkd.cli.{name.replace('-', '_')}")


def _summary(name: str) -> str:
    """The docstring of the command's file, which is also its ``--help``, up to the first colon or semicolon."""
    return re.split("[.:;](?: |$)", _module(name).__doc__ or "")[0]


def _overview() -> argparse.ArgumentParser:
    lines = [f"  {name:<12} {_summary(name)}" for name in NAMES]
    made = argparse.ArgumentParser(
        prog="ppkd",
        usage="ppkd COMMAND ...",
        description=__doc__,
        epilog="\n".join(["commands:", *lines, "", "`ppkd COMMAND --help` lists the flags of a command."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"ppkd {__version__}")
    made.add_argument("command", help=argparse.SUPPRESS)
    return made

"""Print which distillation loss goes with which detectors, what it consumes and its paper."""

from __future__ import annotations

import argparse

from ppkd.cli.command import Command
from ppkd.utils import runtime
from ppkd.utils.shipped import home


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--markdown", action="store_true", help="the page docs/methods.md instead of a table")
    return made


def main(args: argparse.Namespace) -> None:
    """Print, and nothing besides: the page goes into a file."""
    runtime.prepare()
    runtime.import_paddle()
    from rich.console import Console

    from ppkd.distill.methods import markdown, methods, table

    found = methods(home() / "configs")
    if args.markdown:
        print(markdown(found), end="")
    else:
        Console().print(table(found))


command = Command(parser, main)

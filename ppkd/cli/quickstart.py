"""The main job on a drawn data set: teacher, student, distilled student, evaluation, export, pictures, summary."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command
from ppkd.utils.runtime import prepare


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--output", type=Path, default=Path("quickstart_output"), help="folder for all results")
    made.add_argument("--data", type=Path, default=Path("dataset/shapes"), help="folder to draw the data set into")
    made.add_argument("--reduced", action="store_true", help="a few images and one epoch: shows only that it works")
    return made


def main(args: argparse.Namespace) -> None:
    """Run its commands, each in a process of its own."""
    from ppkd.quickstart import FULL, REDUCED, Quickstart

    print(prepare())
    Quickstart(args.output, data=args.data, size=REDUCED if args.reduced else FULL).run()


command = Command(parser, main)

"""Draw the prototypes of a run with a GlobalKnowledge loss: the instances that stand for each class."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("run", type=Path, help="folder of the run, e.g. output/retinanet_r50_fpn_1x_coco")
    made.add_argument("--epoch", type=int, help="the epoch that began with them (the newest ones)")
    made.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="these only (all)")
    return made


def main(args: argparse.Namespace) -> None:
    """Draw, and name every picture."""
    from ppkd.report.prototypes import draw_prototypes, find_prototypes

    for prototypes in find_prototypes(args.run, args.epoch):
        for path in draw_prototypes(prototypes, args.classes):
            print(path)


command = Command(parser, main)

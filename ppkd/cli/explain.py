"""Show where the losses of a distillation act: maps, gradients and disagreement on images, in explain.html."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli import flags
from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("run", type=Path, metavar="DIR", help="the folder of a run with --slim_config, output/my_run")
    made.add_argument("--images", nargs="+", default=[], metavar="FILE", help="images of EvalDataset, by name or path")
    made.add_argument(
        "--count", type=flags.positive, default=3, metavar="N", help="else so many, with the most disagreement (3)"
    )
    return made


def main(args: argparse.Namespace) -> None:
    """Write it, and say where it is."""
    from ppkd.experiment.explain import write_explanation

    print(write_explanation(args.run, args.images, count=args.count))


command = Command(parser, main, computes=True)

"""Compare methods of distillation on one pair of detectors: every seed, intervals; goes on where it stopped."""

from __future__ import annotations

import argparse

from ppkd.cli import flags
from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = flags.parser(__doc__, slim=False)
    made.add_argument("--jobs", type=int, metavar="N", help="runs at once; the file's `jobs` if not given")
    made.add_argument(
        "--gpus", type=lambda text: text.split(","), default=(), metavar="0,1", help="one run on each GPU"
    )
    return made


def main(args: argparse.Namespace) -> None:
    """Load the comparison, run what is left of it, print the table."""
    cfg, _ = flags.load(args)
    from ppkd.study.compare import compare
    from ppkd.study.report import REPORT_FILE

    report = compare(cfg, args.jobs, args.gpus) / REPORT_FILE
    print(f"{report.read_text(encoding='utf-8')}\n{report}")


command = Command(parser, main, computes=True)

"""Write the page about a training run: report.html in its folder; one file that needs no network."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("run", type=Path, metavar="DIR", help="the run's folder, output/my_run")
    made.add_argument(
        "--baseline", type=Path, metavar="DIR", help="the folder of another run, the student alone for instance"
    )
    return made


def main(args: argparse.Namespace) -> None:
    """Write it, and say where it is."""
    from ppkd.experiment.report import write_report

    print(write_report(args.run, args.baseline))


command = Command(parser, main, computes=True)

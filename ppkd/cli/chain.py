"""Train a chain of detectors, each distilled from the one before it; goes on where it stopped."""

from __future__ import annotations

import argparse

from ppkd.cli import flags
from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return flags.parser(__doc__, slim=False)


def main(args: argparse.Namespace) -> None:
    """Load the chain, run what is left of it, print its report."""
    cfg, _ = flags.load(args)
    from ppkd.study.chain import run_chain
    from ppkd.study.report import REPORT_FILE

    report = run_chain(cfg) / REPORT_FILE
    print(f"{report.read_text(encoding='utf-8')}\n{report}")


command = Command(parser, main, computes=True)

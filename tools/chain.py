"""Train a chain of detectors, each distilled from the one before it; goes on where it stopped."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    return cli.parser("Train a teacher, its assistants and the student, and report each link's figures.", slim=False)


def main(args: argparse.Namespace) -> None:
    """Load the chain, run what is left of it, print its report."""
    cfg, _ = cli.load(args)
    from ppkd.study.chain import run_chain
    from ppkd.study.report import REPORT_FILE

    report = run_chain(cfg) / REPORT_FILE
    print(f"{report.read_text(encoding='utf-8')}\n{report}")


if __name__ == "__main__":
    sys.exit(cli.run(main, parser()))

"""Evaluate a trained detector."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils import cli


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = cli.parser("Evaluate the weights of -o weights=PATH|URL on EvalDataset.")
    made.add_argument("--output_eval", default=".", metavar="DIR", help="where bbox.json and curves go (.)")
    cli.add_flag(made, "--classwise", "also a table and precision-recall curves of every class")
    cli.add_flag(made, "--json_eval", "score the bbox.json of --output_eval instead of running the detector")
    cli.add_flag(made, "--save_prediction_only", "write bbox.json and compute nothing")
    cli.add_flag(made, "--amp", "mixed precision")
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configuration and evaluate; weights are a plain student's, whatever the slim file says."""
    cfg, _ = cli.load(args)
    from ppkd.experiment import evaluate_config

    evaluate_config(
        cfg,
        output_dir=args.output_eval,
        classwise=args.classwise,
        json_eval=args.json_eval,
        save_prediction_only=args.save_prediction_only,
        amp=args.amp,
    )


if __name__ == "__main__":
    sys.exit(cli.run(main, parser()))

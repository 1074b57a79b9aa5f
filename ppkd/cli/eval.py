"""Evaluate the weights of -o weights=PATH|URL on EvalDataset."""

from __future__ import annotations

import argparse

from ppkd.cli import flags
from ppkd.cli.command import Command
from ppkd.cli.slices import add_slices, slicing

NOT_HERE = {
    "--engine": "write `ppkd benchmark --engines ... --eval_config`, which evaluates exported models",
    "--bias": "boxes are evaluated without a bias of one pixel, as by default there",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = flags.parser(__doc__)
    made.add_argument("--output_eval", default=".", metavar="DIR", help="where bbox.json and curves go (.)")
    flags.add_flag(made, "--classwise", "also a table and precision-recall curves of every class")
    flags.add_flag(made, "--json_eval", "score the bbox.json of --output_eval instead of running the detector")
    flags.add_flag(made, "--save_prediction_only", "write bbox.json and compute nothing")
    flags.add_flag(made, "--amp", "mixed precision")
    add_slices(made)
    flags.refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configuration and evaluate; weights are a plain student's, whatever the slim file says."""
    cfg = flags.load_detector(args)
    from ppkd.experiment import evaluate_config
    from ppkd.experiment.sliced import own_slices

    evaluate_config(
        cfg,
        output_dir=args.output_eval,
        classwise=args.classwise,
        json_eval=args.json_eval,
        save_prediction_only=args.save_prediction_only,
        amp=args.amp,
        slicing=slicing(args, **own_slices(cfg)),
    )


command = Command(parser, main, computes=True)

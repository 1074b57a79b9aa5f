"""Export a trained detector to Paddle Inference: model.json, model.pdiparams and infer_cfg.yml."""

from __future__ import annotations

import argparse

from ppkd.cli import flags
from ppkd.cli.command import Command

NOT_HERE = {
    "--export_serving_model": "the exported folder is for Paddle Inference; Paddle Serving's own tools convert it",
    "--for_fd": "FastDeploy's file names are not written; infer_cfg.yml describes the model",
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = flags.parser(__doc__)
    made.add_argument("--output_dir", default="output_inference", metavar="DIR", help="the model gets a folder in it")
    flags.refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configuration and its weights, and export on the CPU."""
    cfg = flags.load_detector(args)

    from ppkd.deploy.export import export_trained

    export_trained(cfg, args.output_dir)


command = Command(parser, main, computes=True)

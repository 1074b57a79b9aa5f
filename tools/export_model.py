"""Export a trained detector to Paddle Inference: model.json, model.pdiparams and infer_cfg.yml."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.cli import load, parser, run


def make_parser() -> argparse.ArgumentParser:
    """The flags."""
    made = parser(__doc__ or "")
    made.add_argument("--output_dir", default="output_inference", metavar="DIR", help="the model gets a folder in it")
    return made


def main(args: argparse.Namespace) -> None:
    """Load the configuration and its weights, and export on the CPU."""
    cfg, _ = load(args)

    from ppkd.deploy.export import export_trained

    export_trained(cfg, args.output_dir)


if __name__ == "__main__":
    sys.exit(run(main, make_parser()))

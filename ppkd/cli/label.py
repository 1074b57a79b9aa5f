"""Annotate pictures with what a trained detector finds: COCO json to train with."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command
from ppkd.cli.flags import finite, positive


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument(
        "model", type=Path, metavar="MODEL", help="its yml (with -o weights=PATH), folder of its run, or exported model"
    )
    made.add_argument("--image_dir", type=Path, required=True, metavar="DIR", help="folder of the pictures")
    made.add_argument("--output", type=Path, default=Path("labels.json"), metavar="JSON", help="(labels.json)")
    made.add_argument("--threshold", type=finite, default=0.5, help="lowest score of an annotation (0.5)")
    made.add_argument("--batch_size", type=positive, default=1, help="pictures per batch (1)")
    made.add_argument("-o", "--opt", nargs="+", default=[], metavar="KEY=VALUE", help="settings of the yml")
    return made


def main(args: argparse.Namespace) -> None:
    """Open the model, detect and write."""
    from ppkd.deploy.label import label
    from ppkd.deploy.open_model import open_model

    pipeline, labels = open_model(args.model, args.opt)
    print(label(pipeline, labels, args.image_dir, args.output, threshold=args.threshold, batch_size=args.batch_size))


command = Command(parser, main, computes=True)

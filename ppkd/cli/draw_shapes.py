"""Draw the shapes data set: a small COCO-format set of shapes on cluttered backgrounds, the same for the same seed."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--output", type=Path, default=Path("dataset/shapes"), help="folder to draw into")
    made.add_argument("--train", type=int, default=400, help="number of training images")
    made.add_argument("--val", type=int, default=100, help="number of validation images")
    made.add_argument("--unlabelled", type=int, default=0, help="number of images without annotation (0)")
    made.add_argument("--size", type=int, default=160, help="height and width in pixels")
    made.add_argument(
        "--difficulty", type=float, default=0.0, help="0 to 1: smaller, fainter, noisier, colours that say less (0)"
    )
    made.add_argument("--seed", type=int, default=0)
    return made


def main(args: argparse.Namespace) -> None:
    """Draw."""
    from ppkd.data.shapes import draw_shapes

    draw_shapes(
        args.output,
        images_train=args.train,
        images_val=args.val,
        images_unlabelled=args.unlabelled,
        size=args.size,
        seed=args.seed,
        difficulty=args.difficulty,
    )
    print(f"{args.train} training, {args.val} validation and {args.unlabelled} unlabelled images in {args.output}")


command = Command(parser, main)

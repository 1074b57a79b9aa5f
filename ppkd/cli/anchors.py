"""Find anchors of YOLOv3 for the boxes of TrainDataset: prints them as a configuration takes them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ppkd.cli import flags
from ppkd.cli.command import Command
from ppkd.utils import runtime
from ppkd.utils.errors import ConfigError

if TYPE_CHECKING:
    from ppkd.config import Config

LEVELS = 3
NOT_HERE = {
    "--cache": "boxes are read anew each time",
    "--cache_path": "boxes are read anew each time",
    "-v --verbose": "the anchors are always printed",
}


def parser() -> argparse.ArgumentParser:
    """PaddleDetection's flags, and those that its genetic method had."""
    made = flags.parser(__doc__, slim=False)
    made.add_argument("-n", "--n", type=flags.positive, default=9, metavar="N", help="number of anchors (9)")
    made.add_argument("-i", "--iters", type=flags.positive, default=1000, metavar="N", help="steps of k-means (1000)")
    made.add_argument("-s", "--size", metavar="W,H", help="input of the network, one number if square (TestReader's)")
    made.add_argument(
        "-m", "--method", choices=("v2", "v5"), default="v2", help="k-means by overlap; with v5 evolved further (v2)"
    )
    made.add_argument("-gi", "--gen_iters", type=flags.positive, default=1000, metavar="N", help="steps of v5 (1000)")
    made.add_argument("-t", "--thresh", type=flags.finite, default=0.25, help="least likeness that counts in v5 (0.25)")
    made.add_argument("--seed", type=int, default=0, help="of the random start and changes (0)")
    flags.refuse(made, NOT_HERE)
    return made


def main(args: argparse.Namespace) -> None:
    """Find, and print nothing besides: the output can be pasted into a file."""
    cfg, _ = flags.load(args)
    runtime.prepare()
    runtime.import_paddle()
    from ppkd.data import anchors, build_dataset

    width, height = _size(cfg, args.size)
    sizes = anchors.box_sizes(build_dataset(cfg, "TrainDataset"), width, height)
    found = anchors.k_means(sizes, args.n, iters=args.iters, seed=args.seed)
    if args.method == "v5":
        found = anchors.evolve(sizes, found, iters=args.gen_iters, least=args.thresh, seed=args.seed)
    whole = found.round().clip(1)
    print(f"# {len(sizes)} boxes at {width} x {height} pixels: mean IoU {anchors.mean_iou(sizes, whole):.4f},")
    print(f"# fitness above {args.thresh:g} {anchors.fitness(sizes, whole, args.thresh):.4f}")
    print(f"YOLOv3Head:\n  anchors: {whole.astype(int).tolist()}")
    if args.n % LEVELS == 0:
        each = args.n // LEVELS
        print(f"  anchor_masks: {[list(range(i * each, (i + 1) * each)) for i in reversed(range(LEVELS))]}")


def _size(cfg: Config, text: str | None) -> tuple[int, int]:
    """Width and height that ``text`` or ``TestReader`` says; raises :class:`ConfigError`."""
    if text is None:
        from ppkd.deploy.infer_cfg import image_shape

        *_, height, width = image_shape(cfg)
        if not (height and width):
            raise ConfigError(f"{cfg.path}: TestReader.inputs_def.image_shape says no size; give --size WIDTH,HEIGHT")
        return width, height
    sides = text.split(",")
    if len(sides) > 2 or not all(side.strip().isdecimal() and int(side) > 0 for side in sides):
        raise ConfigError(f"--size {text}: expected one number of pixels, or width and height as W,H")
    return int(sides[0]), int(sides[-1])


command = Command(parser, main)

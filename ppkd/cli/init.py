"""Make configurations for a folder of your own images: finds and counts its annotations, suggests detectors."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command
from ppkd.cli.flags import add_flag


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument(
        "folder",
        type=Path,
        help="images with COCO json, VOC xml or YOLO txt; exports of CVAT and Label Studio of these",
    )
    made.add_argument("--output", type=Path, metavar="DIR", help="folder of what is written (ppkd_FOLDER)")
    made.add_argument("--detector", choices=("gfl", "yolov3"), default="gfl", help="what is suggested (gfl)")
    made.add_argument("--device", choices=("cpu", "gpu"), help="suggest detectors for it (what Paddle has here)")
    made.add_argument("--seed", type=int, default=0, help="of the division into training and validation (0)")
    add_flag(made, "--overwrite", "replace files that exist")
    return made


def main(args: argparse.Namespace) -> None:
    """Look, write, and print what was found."""
    from ppkd.start.init import init

    gpu = None if args.device is None else args.device == "gpu"
    for line in init(
        args.folder, args.output, detector=args.detector, gpu=gpu, seed=args.seed, overwrite=args.overwrite
    ):
        print(line)


command = Command(parser, main)

"""Cut the pictures of a COCO data set into slices, for training on objects that are small in them."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command
from ppkd.cli.flags import finite
from ppkd.utils.errors import ConfigError


def parser() -> argparse.ArgumentParser:
    """PaddleDetection's flags."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--image_dir", required=True, metavar="DIR", help="folder of the pictures")
    made.add_argument("--json_path", required=True, metavar="JSON", help="their annotations, in COCO's format")
    made.add_argument("--output_dir", required=True, metavar="DIR", help="folder of what is written")
    made.add_argument("--slice_size", type=int, default=500, metavar="PIXELS", help="side of a slice (500)")
    made.add_argument(
        "--overlap_ratio", type=finite, default=0.25, metavar="SHARE", help="what the next slice has too (0.25)"
    )
    return made


def main(args: argparse.Namespace) -> None:
    """Cut, and say what was written."""
    if args.slice_size < 1:
        raise ConfigError(f"--slice_size is {args.slice_size}, expected pixels above 0")
    if not 0 <= args.overlap_ratio < 1:
        raise ConfigError(f"--overlap_ratio is {args.overlap_ratio:g}, expected a share of at least 0, below 1")
    from ppkd.data.slice_images import slice_images

    output = Path(args.output_dir)
    print(slice_images(Path(args.json_path), Path(args.image_dir), output, args.slice_size, args.overlap_ratio))


command = Command(parser, main)

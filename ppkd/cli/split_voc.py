"""Make the lists trainval.txt and test.txt (and label_list.txt) of a VOC folder with JPEGImages/ and Annotations/."""

from __future__ import annotations

import argparse
from pathlib import Path

from ppkd.cli.command import Command


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("folder", type=Path, help="the VOC folder")
    made.add_argument("--ratio", default="9:1", help="training to test, or the share of training images (%(default)s)")
    made.add_argument("--seed", type=int, default=0, help="of the shuffle (%(default)s)")
    made.add_argument("--force", action="store_true", help="replace lists that exist")
    return made


def main(args: argparse.Namespace) -> None:
    """Split."""
    from ppkd.data.split import parse_ratio, split_voc

    print(split_voc(args.folder, share=parse_ratio(args.ratio), seed=args.seed, force=args.force))


command = Command(parser, main)

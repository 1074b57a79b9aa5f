"""Make the lists trainval.txt and test.txt (and label_list.txt) of a VOC folder with JPEGImages/ and Annotations/."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.errors import PPKDError


def main() -> None:
    """Parse the command line and split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the VOC folder")
    parser.add_argument(
        "--ratio", default="9:1", help="training to test, or the share of training images (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the shuffle (%(default)s)")
    parser.add_argument("--force", action="store_true", help="replace lists that exist")
    args = parser.parse_args()

    from ppkd.data.split import parse_ratio, split_voc

    try:
        print(split_voc(args.folder, share=parse_ratio(args.ratio), seed=args.seed, force=args.force))
    except (PPKDError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

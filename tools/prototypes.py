"""Draw the prototypes of a run with a GlobalKnowledge loss: the instances that stand for each class."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.errors import PPKDError


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="folder of the run, e.g. output/retinanet_r50_fpn_1x_coco")
    parser.add_argument("--epoch", type=int, help="the epoch that began with them (the newest ones)")
    parser.add_argument("--classes", nargs="+", default=[], metavar="NAME", help="these only (all)")
    args = parser.parse_args()

    from ppkd.report.prototypes import draw_prototypes, find_prototypes

    try:
        for prototypes in find_prototypes(args.run, args.epoch):
            for path in draw_prototypes(prototypes, args.classes):
                print(path)
    except (PPKDError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

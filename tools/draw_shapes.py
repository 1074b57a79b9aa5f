"""Draw the shapes data set: a small COCO-format set of shapes on cluttered backgrounds, the same for the same seed."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.errors import PPKDError


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("dataset/shapes"), help="folder to draw into")
    parser.add_argument("--train", type=int, default=400, help="number of training images")
    parser.add_argument("--val", type=int, default=100, help="number of validation images")
    parser.add_argument("--unlabelled", type=int, default=0, help="number of images without annotation (0)")
    parser.add_argument("--size", type=int, default=160, help="height and width in pixels")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    from ppkd.data.shapes import draw_shapes

    try:
        draw_shapes(
            args.output,
            images_train=args.train,
            images_val=args.val,
            images_unlabelled=args.unlabelled,
            size=args.size,
            seed=args.seed,
        )
    except (PPKDError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"{args.train} training, {args.val} validation and {args.unlabelled} unlabelled images in {args.output}")


if __name__ == "__main__":
    main()

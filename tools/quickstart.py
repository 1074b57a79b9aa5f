"""The main job on a drawn data set: teacher, student, distilled student, evaluation, export, pictures, summary."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.quickstart import FULL, REDUCED, Quickstart
from ppkd.utils.errors import PPKDError
from ppkd.utils.runtime import prepare


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("quickstart_output"), help="folder for all results")
    parser.add_argument("--data", type=Path, default=Path("dataset/shapes"), help="folder to draw the data set into")
    parser.add_argument("--reduced", action="store_true", help="a few images and one epoch: shows only that it works")
    args = parser.parse_args()
    print(prepare())
    try:
        Quickstart(args.output, data=args.data, size=REDUCED if args.reduced else FULL).run()
    except PPKDError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Write weights as .pdparams or .safetensors, with the student alone and the names of its classes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils.errors import PPKDError


def main() -> None:
    """Parse the command line, convert, and say what was kept and what was left out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="path or URL of weights, or of a run's checkpoint with everything in it")
    parser.add_argument("target", help="file to write; its extension, .pdparams or .safetensors, says how")
    parser.add_argument("--label_list", metavar="TXT", help="class names, one per line, instead of those of the source")
    args = parser.parse_args()

    from ppkd.data.datasets.dataset import read_labels
    from ppkd.utils.class_names import class_names
    from ppkd.utils.conversion import convert

    try:
        names = read_labels(Path(args.label_list)) if args.label_list else None
        print(f"{args.target}: {convert(args.source, args.target, names=names)}")
        known = class_names(args.target)
    except (PPKDError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"classes: {', '.join(known) if known else 'not known; --label_list gives them'}")


if __name__ == "__main__":
    main()

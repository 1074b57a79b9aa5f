"""Print which distillation loss goes with which detectors, what it consumes and its paper."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppkd.utils import runtime
from ppkd.utils.errors import PPKDError


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="the page docs/methods.md instead of a table")
    args = parser.parse_args()

    runtime.prepare()
    runtime.import_paddle()
    from rich.console import Console

    from ppkd.distill.methods import markdown, methods, table

    try:
        found = methods(Path(__file__).resolve().parents[1] / "configs")
    except (PPKDError, OSError) as error:
        sys.exit(f"error: {error}")
    if args.markdown:
        print(markdown(found), end="")
    else:
        Console().print(table(found))


if __name__ == "__main__":
    main()

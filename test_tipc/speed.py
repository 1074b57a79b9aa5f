"""The training speed that a log's ``ips:`` tell, as a json line."""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
from pathlib import Path

IPS = re.compile(r" ips: (\d+\.\d+) images/s")


def main() -> None:
    """Parse the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path, help="the output of tools/train.py")
    parser.add_argument("--name", required=True, help="what was measured")
    parser.add_argument("--skip_steps", type=int, default=1, help="leading lines to leave out (1)")
    args = parser.parse_args()
    speeds = [float(text) for text in IPS.findall(args.log.read_text(encoding="utf-8"))][args.skip_steps :]
    if not speeds:
        sys.exit(f"error: {args.log} has no more than {args.skip_steps} lines with ips:")
    print(json.dumps({"model": args.name, "ips": round(statistics.median(speeds), 4), "unit": "images/s"}))


if __name__ == "__main__":
    main()

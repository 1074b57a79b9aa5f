"""Compare the detections of a chain with recorded ones, both as the bbox.json that deploy/python/infer.py writes."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

Detections = dict[tuple[int, int], np.ndarray]


def read(path: Path) -> Detections:
    """Rows [score, x, y, width, height] by image and category, best score first.

    Exits with a message when ``path`` is not a list of detections.
    """
    try:
        records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        grouped: dict[tuple[int, int], list[list[float]]] = {}
        for record in records:
            grouped.setdefault((record["image_id"], record["category_id"]), []).append(
                [record["score"], *record["bbox"]]
            )
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"error: {path}: not a bbox.json ({error})")
    return {place: np.array(sorted(rows, reverse=True)) for place, rows in grouped.items()}


def difference(recorded: Detections, found: Detections, atol: float, rtol: float) -> str | None:
    """What differs first, ``None`` when nothing does."""
    for place in sorted(recorded.keys() | found.keys()):
        ours, theirs = found.get(place, np.zeros((0, 5))), recorded.get(place, np.zeros((0, 5)))
        where = f"image {place[0]}, category {place[1]}"
        if len(ours) != len(theirs):
            return f"{where}: {len(ours)} detections, {len(theirs)} recorded"
        if not np.allclose(ours, theirs, atol=atol, rtol=rtol):
            return f"{where}: numbers differ by up to {np.abs(ours - theirs).max():g}"
    return None


def main() -> None:
    """Parse the command line, compare, exit with 1 when something differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gt_file", type=Path, required=True, help="recorded bbox.json")
    parser.add_argument("--log_file", type=Path, required=True, help="bbox.json of the chain")
    parser.add_argument("--atol", type=float, default=1e-3)
    parser.add_argument("--rtol", type=float, default=1e-3)
    args = parser.parse_args()
    found = difference(read(args.gt_file), read(args.log_file), args.atol, args.rtol)
    if found is not None:
        sys.exit(f"{args.log_file} differs from {args.gt_file}: {found}")
    print(f"{args.log_file} equals {args.gt_file} within atol {args.atol:g}, rtol {args.rtol:g}")


if __name__ == "__main__":
    main()

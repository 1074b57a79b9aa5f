"""Pictures with outlines, divided into COCO data sets for training, validation and test."""

from __future__ import annotations

import math
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

from ppkd.data.to_coco.document import write
from ppkd.data.to_coco.outlines import read_outlines
from ppkd.utils.atomic import output_folder
from ppkd.utils.errors import ConfigError, DataError

PARTS = ("train", "val", "test")
TOLERANCE = 1e-5


def convert_outlines(
    kind: str, jsons: Path, images: Path, output: Path, shares: Sequence[float], seed: int = 0
) -> list[str]:
    """Copy pictures into ``output/train``, ``val`` and ``test``, and write ``output/annotations/instance_*.json``.

    ``shares`` of training, validation and test add up to 1; pictures are shuffled with ``seed``. All files have the
    same classes, sorted by name. Everything is read before the first file is written. Returns a line for each json.
    Raises :class:`ConfigError` for the shares or a folder that cannot be written, :class:`DataError` for what is read.
    """
    if min(shares) < 0 or not math.isclose(sum(shares), 1, abs_tol=TOLERANCE):
        raise ConfigError(f"the proportions of train, val and test are {list(shares)}; they must add up to 1")
    pictures = read_outlines(kind, jsons, images)
    classes = sorted({each.name for picture in pictures.values() for each in picture.objects})
    if not classes:
        raise DataError(f"{jsons}: none of its files has an object")
    lines = []
    for part, files in zip(PARTS, _divided(list(pictures), shares, seed), strict=True):
        if not files:
            continue
        _copy(files, output_folder(output / part))
        json = output / "annotations" / f"instance_{part}.json"
        lines.append(write(json, [pictures[file] for file in files], classes))
    return lines


def _divided(files: list[Path], shares: Sequence[float], seed: int) -> list[list[Path]]:
    """The files of each share, each in order; what rounding leaves is the last one's."""
    random.Random(seed).shuffle(files)
    parts, start = [], 0
    for index, share in enumerate(shares):
        last = not any(shares[index + 1 :])
        end = len(files) if last and share else start + round(len(files) * share)
        parts.append(sorted(files[start:end]))
        start = end
    return parts


def _copy(files: Sequence[Path], folder: Path) -> None:
    for file in files:
        try:
            shutil.copyfile(file, folder / file.name)
        except OSError as error:
            raise DataError(f"cannot copy {file} into {folder}: {error}") from error

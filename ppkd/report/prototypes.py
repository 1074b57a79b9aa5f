"""Pictures of prototypes: the instances that represent each class, cut out of their images."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ppkd.data.image import read_image
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import DataError, nearest
from ppkd.utils.files import read_json
from ppkd.utils.names import file_stems

FOLDER = "prototypes"
SIDE, GAP, MARGIN = 96, 4, 0.2
PAPER, INK = 255, (60, 60, 60)
Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Prototypes:
    """What a run wrote about one set of prototypes: for each class and level the images and boxes of the chosen."""

    path: Path
    strides: list[int]
    classes: dict[str, list[list[dict[str, Any]]]]


def find_prototypes(run: Path, epoch: int | None = None) -> list[Prototypes]:
    """The sets of prototypes that a run wrote last, or those of ``epoch``: one for each loss that has any.

    Raises :class:`DataError` when there are none or a file is not what a run writes.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted((run / FOLDER).glob("*.json")):
        named = re.fullmatch(r"(.+)_epoch_(\d+)", path.stem)
        if named is not None and epoch in (None, int(named[2])):
            found.setdefault(named[1], []).append(path)
    if not found:
        which = "" if epoch is None else f" of epoch {epoch}"
        raise DataError(
            f"{run / FOLDER}: there are no prototypes{which}; runs with a GlobalKnowledge loss write them at the start"
        )
    return [_read(max(paths, key=lambda path: path.stat().st_mtime_ns)) for paths in found.values()]


def draw_prototypes(prototypes: Prototypes, classes: Sequence[str] = ()) -> list[Path]:
    """One picture of each class, or of ``classes`` only, beside the file; returns their paths.

    A row is a level, named by its stride; its prototypes are in the order in which they were chosen.

    Raises :class:`DataError` for a class without prototypes and for an image that cannot be read.
    """
    paths = []
    stems = file_stems(prototypes.classes)
    for name in classes or prototypes.classes:
        if name not in prototypes.classes:
            raise DataError(f"{prototypes.path}: no prototypes of '{name}'{nearest(name, prototypes.classes)}")
        sheet = contact_sheet(prototypes.strides, prototypes.classes[name])
        paths.append(prototypes.path.with_name(f"{prototypes.path.stem}_{stems[name]}.jpg"))
        with atomic_open(paths[-1]) as stream:
            stream.write(cv2.imencode(".jpg", sheet[..., ::-1])[1].tobytes())
    return paths


def contact_sheet(strides: Sequence[int], levels: Sequence[Sequence[dict[str, Any]]]) -> Picture:
    """Crops of the boxes, each ``{image, box}``, one row per level: RGB uint8 (H, W, 3)."""
    images = {chosen["image"] for row in levels for chosen in row}
    opened = {image: read_image(image) for image in images}
    label = 48
    columns = max((len(row) for row in levels), default=0)
    sheet = np.full((len(levels) * (SIDE + GAP) + GAP, label + columns * (SIDE + GAP) + GAP, 3), PAPER, np.uint8)
    for row, (stride, level) in enumerate(zip(strides, levels, strict=True)):
        top = GAP + row * (SIDE + GAP)
        cv2.putText(sheet, f"/{stride}", (4, top + SIDE // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK, 1, cv2.LINE_AA)
        for column, chosen in enumerate(level):
            left = label + GAP + column * (SIDE + GAP)
            sheet[top : top + SIDE, left : left + SIDE] = crop(opened[chosen["image"]], chosen["box"])
    return sheet


def crop(image: Picture, box: Sequence[float]) -> Picture:
    """The box x1, y1, x2, y2 of ``image`` with some margin, in a square of ``SIDE`` pixels whose rest is grey."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box
    margin = MARGIN * max(x2 - x1, y2 - y1, 1.0)
    left, top = (int(np.clip(low - margin, 0, most - 1)) for low, most in ((x1, width), (y1, height)))
    right, bottom = (
        int(np.clip(high + margin, low + 1, most)) for high, low, most in ((x2, left, width), (y2, top, height))
    )
    part = image[top:bottom, left:right]
    scale = SIDE / max(part.shape[:2])
    size = [max(1, round(side * scale)) for side in part.shape[1::-1]]
    square = np.full((SIDE, SIDE, 3), 200, np.uint8)
    square[: size[1], : size[0]] = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    return square


def _read(path: Path) -> Prototypes:
    try:
        content = read_json(path)
        return Prototypes(path, content["strides"], content["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a list of prototypes as a run writes it ({error})") from error

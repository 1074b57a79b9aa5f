"""What is told of a data set: counts for each part and class, and what is wrong with it; a sheet of pictures."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len, set_cell_size

from ppkd.data.annotation import Annotation
from ppkd.data.datasets import DetectionDataset
from ppkd.data.image import read_image
from ppkd.report.draw import draw_truth
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import DataError
from ppkd.utils.names import shown

COLUMNS, ROWS, GAP = 4, 3, 6
TILE = (288, 384)
"""Height and width of a picture on the sheet."""
CLASSES, NAMED = 30, 3


def tell(parts: Mapping[str, DetectionDataset]) -> Iterator[str]:
    """Lines: images and boxes of each part, boxes of each class."""
    for part, dataset in parts.items():
        told = dataset.summary
        boxes = sum(told.boxes.values())
        yield f"  {part:<6}{told.images:>7} images{boxes:>8} boxes{told.empty:>7} images without boxes"
    yield from _classes(parts)


def _classes(parts: Mapping[str, DetectionDataset]) -> Iterator[str]:
    first = next(iter(parts.values()))
    names = first.class_names
    counts = {name: [dataset.summary.boxes.get(name, 0) for dataset in parts.values()] for name in names}
    told = list(names) if len(names) <= CLASSES else sorted(names, key=lambda name: -counts[name][0])[:CLASSES]
    width = max(cell_len(shown(name)) for name in ("class", *told))
    yield f"  {'class':<{width}}" + "".join(f"{part:>9}" for part in parts)
    for name in told:
        # Chinese characters take two columns.
        yield f"  {set_cell_size(shown(name), width)}" + "".join(f"{count:>9}" for count in counts[name])
    if len(names) > CLASSES:
        yield f"  and {len(names) - CLASSES} classes more"
    absent = [shown(name) for name in names if not counts[name][0]]
    if absent:
        yield f"  ! {len(absent)} classes have no box to learn from: {_some(absent)}"


def faults(dataset: DetectionDataset) -> Iterator[str]:
    """Lines: what of ``dataset`` is missing or faulty, with the first names."""
    told = dataset.summary
    for files, text in (
        (told.degenerate, "boxes without area, left out"),
        (told.clipped, "boxes reach beyond their image, clipped"),
        (told.missing, "images or annotations are missing"),
        (told.broken, "annotations cannot be read"),
    ):
        if files:
            yield f"{len(files)} {text}: {_some(list(dict.fromkeys(files)))}"
    if told.orphans:
        yield f"{told.orphans} boxes of images that are not listed, left out"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def write_sheet(path: Path, dataset: DetectionDataset, *, seed: int) -> list[str]:
    """A sheet of some images with their boxes, every class as far as there is room; returns images that are damaged."""
    tiles: list[NDArray[np.uint8]] = []
    damaged: list[str] = []
    for annotation in _order(dataset, seed):
        try:
            tiles.append(_tile(annotation, dataset.class_names))
        except DataError as error:
            damaged.append(str(error))
        if len(tiles) == COLUMNS * ROWS or len(damaged) > NAMED:
            break
    if tiles:
        blank = np.full_like(tiles[0], 255)
        tiles += [blank] * (-len(tiles) % COLUMNS)
        rows = [np.concatenate(tiles[start : start + COLUMNS], axis=1) for start in range(0, len(tiles), COLUMNS)]
        encoded = cv2.imencode(".jpg", np.ascontiguousarray(np.concatenate(rows)[..., ::-1]))[1]
        with atomic_open(path) as file:
            file.write(encoded.tobytes())
    return damaged


def _order(dataset: DetectionDataset, seed: int) -> Iterator[Annotation]:
    """Images in an order by ``seed``, those first that have a class which none before has."""
    order = random.Random(seed).sample(range(len(dataset)), len(dataset))
    seen: set[int] = set()
    later = []
    for index in order:
        classes = set(dataset[index].gt_class.tolist())
        if classes - seen:
            seen |= classes
            yield dataset[index]
        else:
            later.append(index)
    yield from (dataset[index] for index in sorted(later, key=lambda each: not len(dataset[each].gt_class)))


def _tile(annotation: Annotation, names: Sequence[str]) -> NDArray[np.uint8]:
    """The image with its boxes, fitted into a tile."""
    image = read_image(annotation.file, (annotation.height, annotation.width))
    scale = min((room - GAP) / side for room, side in zip(TILE, image.shape, strict=False))
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    drawn = draw_truth(small, annotation.gt_bbox * np.float32(scale), annotation.gt_class, names)
    tile = np.full((*TILE, 3), 255, np.uint8)
    top, left = (TILE[0] - height) // 2, (TILE[1] - width) // 2
    tile[top : top + height, left : left + width] = drawn
    return tile

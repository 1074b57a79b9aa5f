"""A COCO data set whose pictures are cut into slices once, for training on objects that are small in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ppkd.data.annotation import Annotation
from ppkd.data.datasets.coco import COCODataSet
from ppkd.data.image import read_image
from ppkd.data.to_coco.document import Labelled, Picture, write
from ppkd.data.windows import windows
from ppkd.utils.atomic import output_folder
from ppkd.utils.errors import DataError

LEAST_SHARE = 0.1
"""A box stays in a slice that shows at least this share of its area (SAHI's ``min_area_ratio``)."""


def slice_images(json: Path, images: Path, output: Path, size: int, overlap: float) -> str:
    """Cut the pictures of the COCO file ``json`` into squares of ``size`` pixels, and write them with a COCO file.

    ``output`` gets what SAHI's command gives it: ``{name}_{size}_{overlap}.json`` and a folder
    ``{name}_images_{size}_{overlap}``, with the overlap's decimal point left out. Crowd boxes are left out. Returns a
    line that says what was written. Raises :class:`DataError` for a data set or picture that cannot be read.
    """
    dataset = COCODataSet(image_dir=str(images), anno_path=str(json), allow_empty=True)
    tag = f"{size}_{str(overlap).replace('.', '')}"
    folder = output_folder(output / f"{json.stem}_images_{tag}")
    slices = [
        each
        for annotation in dataset.annotations
        for each in _cut(annotation, dataset.class_names, folder, size, overlap)
    ]
    return write(output / f"{json.stem}_{tag}.json", slices, dataset.class_names)


def _cut(annotation: Annotation, names: tuple[str, ...], folder: Path, size: int, overlap: float) -> Iterator[Picture]:
    """Write the slices of one picture into ``folder``."""
    image = read_image(annotation.file, (annotation.height, annotation.width))
    for window in windows((image.shape[0], image.shape[1]), (size, size), (overlap, overlap)):
        x1, y1, x2, y2 = map(int, window)
        file = folder / f"{annotation.file.stem}_{x1}_{y1}_{x2}_{y2}{annotation.file.suffix}"
        if not cv2.imwrite(str(file), np.ascontiguousarray(image[y1:y2, x1:x2, ::-1])):
            raise DataError(f"cannot write {file}")
        boxes, kept = _inside(annotation.gt_bbox, window)
        classes = annotation.gt_class[kept]
        objects = tuple(
            Labelled(names[label], (float(x), float(y), float(right - x), float(bottom - y)))
            for label, (x, y, right, bottom) in zip(classes, boxes, strict=True)
        )
        yield Picture(file.name, y2 - y1, x2 - x1, objects)


def _inside(boxes: NDArray[np.float32], window: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The parts of ``boxes`` (k, 4) in a slice, in its pixels, and which boxes (k,) they are of."""
    corner = np.tile(window[:2], 2)
    parts = np.clip(boxes, corner, np.tile(window[2:], 2)) - corner
    kept = _areas(parts) >= LEAST_SHARE * _areas(boxes)
    kept &= _areas(parts) > 0
    return parts[kept], kept


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

"""What a trained detector finds in pictures, as annotations for training: ``ppkd label``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ppkd.data.datasets.image_folder import find_images
from ppkd.data.to_coco.document import Labelled, Picture, write
from ppkd.deploy.labels import ClassLabels
from ppkd.deploy.pictures import detect_pictures
from ppkd.deploy.pipeline import Detections, Found, Pipeline
from ppkd.utils.atomic import output_folder
from ppkd.utils.progress import progress

INTERVAL = 30.0
"""Seconds between two lines on the progress where there is no terminal."""


def label(
    pipeline: Pipeline, labels: ClassLabels, folder: Path, target: Path, *, threshold: float = 0.5, batch_size: int = 1
) -> str:
    """Write the detections in the pictures below ``folder`` as COCO json to ``target``; a line says how many.

    File names are relative to ``folder``, categories have the detector's numbers, boxes end at the picture's sides, and
    each has its ``score``, of ``threshold`` or more. Pictures without any are listed without boxes. A picture that
    cannot be read is left out, and :class:`DataError` raised after the json is written; an unwritable folder of
    ``target`` raises :class:`ConfigError` at once.
    """
    output_folder(target.parent)
    files = find_images(folder)
    found: list[Picture] = []
    with progress("Labelling", len(files), interval=INTERVAL) as bar:

        def handle(index: int, file: Path, picture: NDArray[np.uint8], own: Found) -> None:
            height, width = picture.shape[:2]
            objects = _objects(own.rows[own.rows[:, 1] >= threshold], labels.names, height, width)
            found.append(Picture(str(file.relative_to(folder)), height, width, objects))
            bar.advance()

        try:
            detect_pictures(pipeline, files, handle, batch_size=batch_size)
        finally:
            said = write(target, found, labels.names, labels.category_ids)
    return said


def _objects(rows: Detections, names: Sequence[str], height: int, width: int) -> tuple[Labelled, ...]:
    """The detections with an area inside of the picture."""
    low, high = (np.clip(rows[:, i : i + 2], 0, [width, height]) for i in (2, 4))
    solid = (high > low).all(axis=1)
    boxes = np.concatenate([low, high - low], axis=1)[solid].tolist()
    pairs = zip(rows[solid, :2].tolist(), boxes, strict=True)
    return tuple(Labelled(names[int(kind)], tuple(box), score=score) for (kind, score), box in pairs)

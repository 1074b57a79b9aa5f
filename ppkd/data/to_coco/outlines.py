"""The json files of labelme and Cityscapes as pictures for a COCO json."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppkd.data.datasets.dataset import stated_side
from ppkd.data.image import EXTENSIONS
from ppkd.data.to_coco.document import Labelled, Picture
from ppkd.utils.errors import DataError
from ppkd.utils.files import read_json
from ppkd.utils.logger import get_logger

_log = get_logger(__name__)
Content = Mapping[str, Any]
Outlines = list[tuple[str, np.ndarray]]
"""Class names and points (k, 2) = x, y."""


def read_outlines(kind: str, jsons: Path, images: Path) -> dict[Path, Picture]:
    """Every picture of the folder ``images`` by its path, sorted, with the objects of ``jsons``' file of its name.

    ``kind`` is ``labelme`` or ``cityscape``. A box goes from an outline's least to its greatest coordinates, within the
    picture. Raises :class:`DataError` naming the folder or the file that is missing or wrong.
    """
    for folder in (jsons, images):
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder")
    files = sorted(path for path in images.iterdir() if path.suffix.lower() in EXTENSIONS)
    if not files:
        raise DataError(f"{images}: there are no pictures in it")
    return {file: _read(FORMS[kind], jsons / f"{file.stem}.json", file.name) for file in files}


def _read(form: tuple[str, str, Callable[[Content, Path], Outlines]], path: Path, file_name: str) -> Picture:
    height_key, width_key, outlines = form
    try:
        content = read_json(path)
    except OSError as error:
        raise DataError(f"{path}: the annotation of {file_name} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path}: no valid json: {error}") from error
    try:
        height, width = stated_side(content[height_key]), stated_side(content[width_key])
        found = outlines(content, path)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{path}: an entry is missing or of a wrong kind ({type(error).__name__}: {error})") from error
    if not (height and width):
        raise DataError(f"{path}: {height_key} and {width_key} are no height and width above 0")
    return Picture(file_name, height, width, tuple(_labelled(*each, (width, height), path) for each in found))


def _labelled(name: str, points: np.ndarray, size: tuple[int, int], path: Path) -> Labelled:
    inside = np.clip(points, 0, size)
    low, high = inside.min(axis=0), inside.max(axis=0)
    if not (low < high).all():
        raise DataError(f"{path}: an object of class '{name}' has no area within the picture: {points.tolist()}")
    (x, y), (width, height) = low.tolist(), (high - low).tolist()
    return Labelled(name, (x, y, width, height), tuple(points.reshape(-1).tolist()))


def _of_labelme(content: Content, path: Path) -> Outlines:
    found: Outlines = []
    others: Counter[str] = Counter()
    for shape in content["shapes"]:
        if shape["shape_type"] == "rectangle":
            (x1, y1), (x2, y2) = np.sort(_points(shape["points"], 2), axis=0)
            found.append((str(shape["label"]), np.array([[x1, y1], [x1, y2], [x2, y2], [x2, y1]])))
        elif shape["shape_type"] == "polygon":
            found.append((str(shape["label"]), _points(shape["points"])))
        else:
            others[shape["shape_type"]] += 1
    for kind, times in others.items():
        _log.warning("%s: %d of the kind %s left out; objects are polygons and rectangles", path, times, kind)
    return found


def _of_cityscapes(content: Content, path: Path) -> Outlines:
    return [(str(each["label"]), _points(each["polygon"])) for each in content["objects"]]


def _points(given: Sequence[Sequence[float]], count: int | None = None) -> np.ndarray:
    """(k, 2) float64; raises :class:`ValueError` for anything else, and unless they are ``count`` or more than two."""
    points = np.array(given, np.float64)
    enough = len(points) > 2 if count is None else len(points) == count
    if points.ndim != 2 or points.shape[1] != 2 or not enough or not np.isfinite(points).all():
        raise ValueError(f"points are {str(given)[:200]}")
    return points


FORMS = {
    "labelme": ("imageHeight", "imageWidth", _of_labelme),
    "cityscape": ("imgHeight", "imgWidth", _of_cityscapes),
}

"""Pictures with labelled objects, and the COCO json of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppkd.utils.atomic import atomic_open


@dataclass(frozen=True)
class Labelled:
    """One object: its class, its box x, y, width, height in pixels, its outline x1, y1, x2, y2, ... if known, and the
    ``score`` of one that a detector found.
    """

    name: str
    box: tuple[float, float, float, float]
    outline: tuple[float, ...] = ()
    score: float | None = None


@dataclass(frozen=True)
class Picture:
    """One picture and its objects; ``file_name`` is relative to the folder of pictures."""

    file_name: str
    height: int
    width: int
    objects: tuple[Labelled, ...]


def document(
    pictures: Sequence[Picture], classes: Sequence[str], category_ids: Sequence[int] | None = None
) -> dict[str, Any]:
    """COCO's form of ``pictures``; categories are ``classes``, numbered from 1 as pictures and objects are.

    ``category_ids`` are other numbers of the classes.
    """
    numbers = dict(zip(classes, category_ids or range(1, len(classes) + 1), strict=True))
    objects = [(image, each) for image, picture in enumerate(pictures, 1) for each in picture.objects]
    return {
        "images": [
            {"id": number, "file_name": picture.file_name, "height": picture.height, "width": picture.width}
            for number, picture in enumerate(pictures, 1)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image,
                "category_id": numbers[each.name],
                "bbox": list(each.box),
                "area": each.box[2] * each.box[3],
                "iscrowd": 0,
                **({"segmentation": [list(each.outline)]} if each.outline else {}),
                **({} if each.score is None else {"score": each.score}),
            }
            for number, (image, each) in enumerate(objects, 1)
        ],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }


def write(
    path: Path, pictures: Sequence[Picture], classes: Sequence[str], category_ids: Sequence[int] | None = None
) -> str:
    """Write the json, or leave an older one whole; returns a line that says what is in it."""
    content = document(pictures, classes, category_ids)
    with atomic_open(path) as file:
        file.write(json.dumps(content, ensure_ascii=False).encode())
    return f"{path}: {len(content['images'])} images, {len(content['annotations'])} boxes, {len(classes)} classes"

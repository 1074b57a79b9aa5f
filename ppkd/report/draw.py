"""Detections drawn into a picture: boxes coloured by class, with names and scores."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ppkd.utils.names import shown

Colour = tuple[int, int, int]
_GOLDEN_RATIO = 0.6180339887498949
_FONT_WEIGHT = 500


def class_colour(index: int) -> Colour:
    """RGB colour of a class: hues a golden ratio apart, so that neighbouring classes differ clearly."""
    red, green, blue = colorsys.hsv_to_rgb((0.02 + index * _GOLDEN_RATIO) % 1.0, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(
    image: NDArray[np.uint8],
    detections: NDArray[np.float32],
    class_names: Sequence[str],
    threshold: float = 0.5,
) -> NDArray[np.uint8]:
    """A copy of ``image`` (H, W, 3 RGB) with every detection that scores at least ``threshold``.

    ``detections`` is (k, 6) = class, score, x1, y1, x2, y2 in pixels of ``image``. Better ones are drawn later, on top.
    Rows that are not finite or do not touch the picture are left out.
    """
    canvas = np.ascontiguousarray(image).copy()
    rows = visible(detections, threshold, *canvas.shape[:2])
    for row in rows[np.argsort(rows[:, 1], kind="stable")]:
        index = int(row[0])
        name = class_names[index] if 0 <= index < len(class_names) else str(index)
        _draw_one(canvas, row[2:6], f"{shown(name)} {row[1]:.2f}", class_colour(index))
    return canvas


def draw_truth(
    image: NDArray[np.uint8], boxes: NDArray[np.float32], classes: NDArray[np.int64], class_names: Sequence[str]
) -> NDArray[np.uint8]:
    """A copy of ``image`` (H, W, 3 RGB) with annotated ``boxes`` (k, 4) x1, y1, x2, y2 in its pixels."""
    canvas = np.ascontiguousarray(image).copy()
    for box, index in zip(boxes, classes.tolist(), strict=True):
        _draw_one(canvas, box, shown(class_names[index]), class_colour(index))
    return canvas


def visible(detections: NDArray[np.float32], threshold: float, height: int, width: int) -> NDArray[np.float32]:
    """The rows (k, 6) that score at least ``threshold`` and overlap a picture of ``height`` x ``width`` pixels."""
    rows = np.asarray(detections, np.float32).reshape(-1, 6)
    rows = rows[np.isfinite(rows).all(axis=1)]
    inside = (rows[:, 2] < width) & (rows[:, 3] < height) & (rows[:, 4] > 0) & (rows[:, 5] > 0)
    return rows[(rows[:, 0] >= 0) & (rows[:, 1] >= threshold) & inside]


def _draw_one(canvas: NDArray[np.uint8], box: NDArray[np.float32], label: str, colour: Colour) -> None:
    height, width = canvas.shape[:2]
    limits = [width - 1, height - 1] * 2
    x1, y1, x2, y2 = (int(value) for value in np.clip(np.rint(box), 0, limits))
    short = min(height, width)
    cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, thickness=max(1, round(short / 300)))
    _draw_label(canvas, (x1, y1), label, colour, size=int(np.clip(short / 32, 9, 26)))


def _draw_label(canvas: NDArray[np.uint8], corner: tuple[int, int], label: str, colour: Colour, size: int) -> None:
    """A filled tag above ``corner``, or below it where the picture ends; moved sideways to stay inside.

    OpenCV's own TrueType fonts render names in any script; what they lack becomes a question mark.
    """
    font = cv2.FontFace("sans")
    height, width = canvas.shape[:2]
    text_width = cv2.getTextSize((width, height), label, (0, 0), font, size, _FONT_WEIGHT)[2]
    tag_width, tag_height = text_width + 4, round(size * 1.3) + 2
    left = max(0, min(corner[0], width - tag_width))
    top = corner[1] - tag_height if corner[1] >= tag_height else corner[1]
    cv2.rectangle(canvas, (left, top), (left + tag_width, top + tag_height), colour, thickness=-1)
    ink = (0, 0, 0) if np.dot(colour, (0.299, 0.587, 0.114)) > 140 else (255, 255, 255)
    cv2.putText(
        canvas, label, (left + 2, top + size + 1), ink, font, size, _FONT_WEIGHT, wrap=(left, left + text_width * 4)
    )

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
    masks: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """A copy of ``image`` (H, W, 3 RGB) with every detection that scores at least ``threshold``.

    ``detections`` is (k, 6) = class, score, x1, y1, x2, y2 in pixels of ``image``. Better ones are drawn later, on top.
    Rows that are not finite or do not touch the picture are left out. ``masks`` (k, H, W) are laid over the picture.
    """
    canvas = np.ascontiguousarray(image).copy()
    rows = np.asarray(detections, np.float32).reshape(-1, 6)
    shown_rows = np.flatnonzero(is_visible(rows, threshold, *canvas.shape[:2]))
    order = shown_rows[np.argsort(rows[shown_rows, 1], kind="stable")]
    if masks is not None:
        _lay_over(canvas, rows[order], masks[order])
    for row in rows[order]:
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
    return rows[is_visible(rows, threshold, height, width)]


def is_visible(rows: NDArray[np.float32], threshold: float, height: int, width: int) -> NDArray[np.bool_]:
    """Which of ``rows`` (k, 6) :func:`visible` returns, bool (k,)."""
    inside = (rows[:, 2] < width) & (rows[:, 3] < height) & (rows[:, 4] > 0) & (rows[:, 5] > 0)
    return np.isfinite(rows).all(axis=1) & (rows[:, 0] >= 0) & (rows[:, 1] >= threshold) & inside


def _lay_over(canvas: NDArray[np.uint8], rows: NDArray[np.float32], masks: NDArray[np.uint8]) -> None:
    """Half of each class's colour over the pixels of ``masks`` (k, H, W)."""
    for row, mask in zip(rows, masks, strict=True):
        inside = mask > 0
        canvas[inside] = canvas[inside] // 2 + np.array(class_colour(int(row[0])), np.uint8) // 2


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

"""Pictures of a page: JPEG in the page itself, with boxes drawn into them."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from ppkd.report.blocks import Picture
from ppkd.report.draw import Colour

QUALITY = 82
RIGHT, WRONG, MISSED = (0, 190, 140), (235, 87, 20), (75, 150, 255)
"""Colours of boxes, three that people tell apart whatever their eyes."""
DASH = 5


def picture(image: np.ndarray, caption: str) -> Picture:
    """RGB uint8 (H, W, 3) as a block's picture."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    address = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    return Picture(address, image.shape[1], image.shape[0], caption)


def fitted(image: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    """``image`` with its long side of ``side`` pixels, and the scale; a smaller one grows, so that lines stay thin."""
    scale = side / max(image.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    size = tuple(max(1, round(length * scale)) for length in image.shape[1::-1])
    return cv2.resize(image, size, interpolation=way), scale


def with_boxes(image: np.ndarray, boxes: np.ndarray, colours: Sequence[Colour], *, dashed: bool = False) -> np.ndarray:
    """A copy of ``image`` with the outlines of ``boxes`` (n, 4) in pixels of it."""
    canvas = np.ascontiguousarray(image).copy()
    limits = np.array([canvas.shape[1] - 1, canvas.shape[0] - 1] * 2)
    for box, colour in zip(np.clip(np.rint(boxes), 0, limits).astype(int).tolist(), colours, strict=True):
        if dashed:
            _dashed(canvas, box, colour)
        else:
            cv2.rectangle(canvas, box[:2], box[2:], colour, 1 if max(canvas.shape) < 300 else 2)
    return canvas


def heat(values: np.ndarray, image: np.ndarray, *, most: float | None = None) -> np.ndarray:
    """``image`` (H, W, 3) under the map ``values`` (h, w), from 0, dark, to ``most``, its largest if not given."""
    top = float(values.max()) if most is None else most
    scaled = np.clip(values / top if top > 0 else values * 0, 0, 1)
    size = image.shape[1::-1]
    # Cells stay cells: a smooth map would pretend to a resolution that the level does not have.
    grown = cv2.resize((255 * scaled).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    coloured = cv2.applyColorMap(grown, cv2.COLORMAP_INFERNO)[..., ::-1]
    # Grey below, so that all colours are the map's.
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return np.rint(0.4 * grey + 0.6 * coloured).astype(np.uint8)


def css(colour: Colour) -> str:
    """The colour as CSS writes it."""
    return f"rgb{colour}".replace(" ", "")


def _dashed(canvas: np.ndarray, box: Sequence[int], colour: Colour) -> None:
    left, top, right, bottom = box
    for x in range(left, right + 1, 2 * DASH):
        for y in (top, bottom):
            cv2.line(canvas, (x, y), (min(x + DASH, right), y), colour, 2)
    for y in range(top, bottom + 1, 2 * DASH):
        for x in (left, right):
            cv2.line(canvas, (x, y), (x, min(y + DASH, bottom)), colour, 2)

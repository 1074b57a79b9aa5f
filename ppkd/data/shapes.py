"""A small detection set drawn from a seed: shapes on cluttered, noisy backgrounds, in COCO's format."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppkd.utils.errors import DataError

CLASSES = ("circle", "square", "triangle", "star")
SPLITS = {"train": 1, "val": 2, "unlabelled": 3}
EMPTY_SHARE = 0.08
SHAPES = (3, 8)
LEAST_SIDE, LARGEST_SIDE = 0.15, 0.5
LEAST_VISIBLE = 0.5
LARGEST_TURN = 0.35
SUBPIXEL_BITS = 4
JPEG_QUALITY = 92

Outline = np.ndarray


@dataclass(frozen=True)
class Shape:
    """A drawn object: ``label`` indexes :data:`CLASSES`, ``outline`` float (n, 2) x, y in pixels."""

    label: int
    outline: Outline


@dataclass(frozen=True)
class Look:
    """How hard the shapes are to find and to tell apart.

    ``least_side``: of the smallest shape, as a share of the image's; ``least_contrast``: to what is below a shape, in
    grey levels; ``hue_spread``: degrees around the class's own hue (45 and more: hue no longer tells the class);
    ``most_noise``: standard deviation in grey levels.
    """

    least_side: float = LEAST_SIDE
    least_contrast: float = 80.0
    hue_spread: float = 20.0
    most_noise: float = 6.0

    @classmethod
    def of(cls, difficulty: float) -> Look:
        """From 0, the default look, to 1: small, faint, noisy, of any colour. Raises DataError outside of that."""
        if not 0 <= difficulty <= 1:
            raise DataError(f"difficulty is {difficulty:g}, expected 0 to 1")
        start = cls()
        return cls(
            least_side=start.least_side * (1 - 0.5 * difficulty),
            least_contrast=start.least_contrast * (1 - 0.6 * difficulty),
            hue_spread=start.hue_spread + 160 * difficulty,
            most_noise=start.most_noise + 18 * difficulty,
        )


def draw_shapes(
    folder: str | os.PathLike[str],
    *,
    images_train: int,
    images_val: int,
    size: int,
    seed: int,
    images_unlabelled: int = 0,
    difficulty: float = 0.0,
) -> Path:
    """Draw the set into ``folder`` and return it; ``difficulty`` as in :meth:`Look.of`.

    Writes ``train/*.jpg``, ``val/*.jpg``, ``unlabelled/*.jpg`` (``size`` x ``size`` pixels) and
    ``annotations/instances_train.json``, ``instances_val.json``. The same arguments give the same bytes; image ``i`` of
    a split does not depend on how many there are. Files of an earlier drawing in the folder are replaced.
    """
    look = Look.of(difficulty)
    root = Path(folder)
    counts = {"train": images_train, "val": images_val, "unlabelled": images_unlabelled}
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for split, count in counts.items():
        entries = _draw_split(root / split, count, size, (seed, SPLITS[split]), look)
        if split != "unlabelled":
            text = json.dumps(_coco(entries, size), separators=(",", ":"))
            (root / "annotations" / f"instances_{split}.json").write_text(text, encoding="utf-8")
    return root


def _draw_split(folder: Path, count: int, size: int, seed: tuple[int, int], look: Look) -> list[list[Shape]]:
    if count:
        folder.mkdir(exist_ok=True)
    for old in folder.glob("[0-9]" * 6 + ".jpg"):
        old.unlink()
    drawn = []
    for index in range(count):
        image, shapes = draw_image(size, np.random.default_rng((*seed, index)), look)
        cv2.imwrite(str(folder / _name(index)), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        drawn.append(shapes)
    return drawn


def _name(index: int) -> str:
    return f"{index:06d}.jpg"


def _coco(drawn: list[list[Shape]], size: int) -> dict[str, Any]:
    images = [{"id": i + 1, "file_name": _name(i), "width": size, "height": size} for i in range(len(drawn))]
    annotations: list[dict[str, Any]] = []
    for i, shapes in enumerate(drawn):
        for shape in shapes:
            x, y, width, height = box(shape.outline, size)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": i + 1,
                    "category_id": shape.label + 1,
                    "bbox": [x, y, width, height],
                    "segmentation": [outline(shape)],
                    "area": round(width * height, 2),
                    "iscrowd": 0,
                }
            )
    names = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": names}


def box(outline: Outline, size: int) -> list[float]:
    """x, y, width, height of an outline, cut at the border of a ``size`` x ``size`` image, to 1/100 pixel."""
    low, high = np.clip([outline.min(axis=0), outline.max(axis=0)], 0, size).round(2)
    return [round(float(value), 2) for value in (*low, *(high - low))]


def outline(shape: Shape) -> list[float]:
    """The corners x, y, x, y, ... of a shape to 1/100 pixel, with its hidden parts and those beyond the border."""
    return [round(value, 2) for value in shape.outline.ravel().tolist()]


def draw_image(size: int, rng: np.random.Generator, look: Look) -> tuple[np.ndarray, list[Shape]]:
    """One picture, RGB uint8 (size, size, 3), and its shapes."""
    image = _background(size, rng)
    shapes: list[Shape] = []
    owner = np.zeros((size, size), np.uint8)
    wanted = 0 if rng.random() < EMPTY_SHARE else int(rng.integers(*SHAPES, endpoint=True))
    for _ in range(wanted):
        label = int(rng.integers(len(CLASSES)))
        outline = place(unit_outline(CLASSES[label], rng), size, rng, look.least_side)
        claimed = _claim(owner, outline, len(shapes) + 1)
        if claimed is not None:
            owner = claimed
            shapes.append(Shape(label, outline))
            _paint(image, outline, label, rng, look)
    noise = rng.normal(0, rng.uniform(2, look.most_noise), image.shape).astype(np.float32)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.0)) + noise
    return np.clip(image, 0, 255).astype(np.uint8), shapes


def unit_outline(name: str, rng: np.random.Generator) -> Outline:
    """The outline of a shape of radius 1 around the origin, turned by up to 20 degrees from upright."""
    corners = {"circle": 48, "square": 4, "triangle": 3, "star": 10}[name]
    upright = np.pi / 4 if name == "square" else -np.pi / 2
    angles = 2 * np.pi * np.arange(corners) / corners + upright + rng.uniform(-LARGEST_TURN, LARGEST_TURN)
    radius = np.ones(corners)
    if name == "star":
        radius[1::2] = rng.uniform(0.4, 0.5)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius[:, None]


def place(outline: Outline, size: int, rng: np.random.Generator, least_side: float) -> Outline:
    """A unit outline at a random place and scale, slightly squeezed, at most a little beyond the border.

    ``least_side``: of the smallest shape, as a share of ``size``.
    """
    radius = size * np.exp(rng.uniform(*np.log((least_side, LARGEST_SIDE)))) / 2
    squeeze = np.array([1, rng.uniform(0.8, 1.0)])
    centre = rng.uniform(0.6 * radius, size - 0.6 * radius, 2)
    return outline * squeeze * radius + centre


def _claim(owner: np.ndarray, outline: Outline, number: int) -> np.ndarray | None:
    """``owner`` with the shape's pixels set to ``number``; None if that would hide half of an earlier shape."""
    after = owner.copy()
    cv2.fillPoly(after, [outline.round().astype(np.int32)], number)
    before_area = np.bincount(owner.ravel(), minlength=number)[1:number]
    after_area = np.bincount(after.ravel(), minlength=number + 1)[1:number]
    return None if (after_area < LEAST_VISIBLE * before_area).any() else after


def _paint(image: np.ndarray, outline: Outline, label: int, rng: np.random.Generator, look: Look) -> None:
    """Fill an outline with a colour of its class that stands out from what is below it, sometimes striped."""
    inside = np.zeros(image.shape[:2], np.uint8)
    _fill(inside, outline, 255)
    colour = _class_colour(label, rng, look.hue_spread)
    below = image[inside > 0].mean(axis=0) if inside.any() else colour
    while np.abs(colour - below).max() < look.least_contrast:
        colour = _class_colour(label, rng, look.hue_spread)
    alpha = inside[..., None] / np.float32(255) * np.float32(rng.uniform(0.85, 1.0))
    texture = _stripes(image.shape[0], rng) if rng.random() < 0.2 else 0
    image += alpha * (colour + texture - image)


def _class_colour(label: int, rng: np.random.Generator, spread: float) -> np.ndarray:
    """RGB float32 (3,): a hue within ``spread`` degrees of the class's own, in any strength."""
    hue = 360 * label / len(CLASSES) + rng.uniform(-spread, spread)
    hsv = np.array([[[hue % 360, rng.uniform(0.4, 1.0), rng.uniform(0.4, 1.0)]]], np.float32)
    return 255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0]


def _stripes(size: int, rng: np.random.Generator) -> np.ndarray:
    y, x = np.mgrid[:size, :size].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 12)
    wave = np.sin(2 * np.pi / period * (x * np.cos(angle) + y * np.sin(angle)))
    return (rng.uniform(10, 40) * wave[..., None]).astype(np.float32)


def _background(size: int, rng: np.random.Generator) -> np.ndarray:
    """A smooth wash of muted colours with strokes and rings, float32 (size, size, 3)."""
    cells = int(rng.integers(2, 7))
    wash = rng.uniform(40, 215) + rng.uniform(-40, 40, (cells, cells, 1)) + rng.uniform(-10, 10, (cells, cells, 3))
    image = cv2.resize(wash.astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(0, 4)):
        start, end = rng.integers(0, size, (2, 2)).tolist()
        cv2.line(image, start, end, _colour(rng), int(rng.integers(1, 4)), cv2.LINE_AA)
    for _ in range(rng.integers(0, 2)):
        centre, radius = rng.integers(0, size, 2).tolist(), int(rng.uniform(0.05, 0.2) * size)
        cv2.circle(image, centre, radius, _colour(rng), int(rng.integers(1, 4)), cv2.LINE_AA)
    return np.ascontiguousarray(np.clip(image, 0, 255))


def _fill(image: np.ndarray, outline: Outline, colour: float | tuple[float, ...]) -> None:
    points = (outline * (1 << SUBPIXEL_BITS)).round().astype(np.int32)
    cv2.fillPoly(image, [points], colour, cv2.LINE_AA, SUBPIXEL_BITS)


def _colour(rng: np.random.Generator) -> tuple[float, ...]:
    return tuple(rng.uniform(0, 255, 3).tolist())

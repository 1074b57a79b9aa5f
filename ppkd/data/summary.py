"""What was found in a data set when it was opened: numbers and file names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ppkd.data.annotation import Annotation

NAMED = 3
SMALLEST_SIDE = 1e-5
TOLERANCE = 1.0


@dataclass
class Summary:
    """Counts of a data set; every list holds file names, one entry per box or image it counts.

    ``clipped`` boxes reached more than a pixel beyond the image. ``str()`` is one or two lines for a log.
    """

    images: int = 0
    boxes: dict[str, int] = field(default_factory=dict)
    crowd: int = 0
    difficult: int = 0
    empty: int = 0
    empty_left_out: int = 0
    degenerate: list[str] = field(default_factory=list)
    clipped: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    orphans: int = 0
    broken_masks: list[str] = field(default_factory=list)
    maskless: list[str] = field(default_factory=list)

    def clean(self, annotation: Annotation) -> Annotation:
        """``annotation`` with its boxes clipped to the image and degenerate ones dropped, and both counted here."""
        stated = annotation.gt_bbox
        boxes = np.where(np.isfinite(stated).all(axis=1, keepdims=True), stated, 0)
        if annotation.height and annotation.width:
            size = (annotation.width, annotation.height)
            inside = np.clip(boxes, 0, np.array(size * 2, np.float32))
        else:
            inside = boxes
        solid = ((inside[:, 2:] - inside[:, :2]) > SMALLEST_SIDE).all(axis=1)
        moved = solid & (np.abs(inside - boxes) > TOLERANCE).any(axis=1)
        name = annotation.file.name
        self.degenerate += [name] * int((~solid).sum())
        self.clipped += [name] * int(moved.sum())
        stated[:] = inside
        return annotation if solid.all() else annotation.take(solid)

    def count(self, annotations: Sequence[Annotation], class_names: Sequence[str]) -> None:
        """Count the images and boxes that stay in the data set."""
        self.images = len(annotations)
        self.empty = sum(len(a.gt_class) == 0 for a in annotations if a.labelled)
        classes = np.concatenate([a.gt_class for a in annotations]) if annotations else np.zeros(0, np.int64)
        found = np.bincount(classes, minlength=len(class_names))
        self.boxes = dict.fromkeys(class_names, 0)
        for name, number in zip(class_names, found.tolist(), strict=True):
            self.boxes[name] += number
        self.crowd = int(sum(a.is_crowd.sum() for a in annotations))
        self.difficult = int(sum(a.difficult.sum() for a in annotations))

    def __str__(self) -> str:
        head = f"{self.images} images, {sum(self.boxes.values())} boxes"
        most = sorted((item for item in self.boxes.items() if item[1]), key=lambda item: -item[1])
        if most:
            shown = ", ".join(f"{name} {number}" for name, number in most[:10])
            head += f" ({shown}{f', and {len(most) - 10} classes more' if len(most) > 10 else ''})"
        notes = [
            *(f"{number} {text}" for number, text in self._numbers() if number),
            *(f"{len(files)} {text}: {_names(files)}" for files, text in self._files() if files),
        ]
        return f"{head}\n  {'; '.join(notes)}" if notes else head

    def _numbers(self) -> list[tuple[int, str]]:
        return [
            (self.crowd, "crowd boxes"),
            (self.difficult, "difficult boxes"),
            (self.empty, "images without boxes"),
            (self.empty_left_out, "images without boxes left out (allow_empty: true keeps them)"),
            (self.orphans, "boxes of images that are not listed ignored"),
        ]

    def _files(self) -> list[tuple[list[str], str]]:
        return [
            (self.degenerate, "boxes without area dropped"),
            (self.clipped, "boxes clipped to their image"),
            (self.missing, "images or annotations missing"),
            (self.broken, "annotations unreadable"),
            (self.broken_masks, "masks of broken polygons, or of an RLE that is damaged or not of its image's size"),
            (self.maskless, "boxes without a mask, which train boxes alone"),
        ]


def _names(files: list[str]) -> str:
    distinct = list(dict.fromkeys(files))
    return ", ".join(distinct[:NAMED]) + (f" and {len(distinct) - NAMED} more" if len(distinct) > NAMED else "")

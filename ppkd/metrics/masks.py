"""Masks in COCO's run-length encoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppkd.data.outlines import polygon_points, read_rle

RLE = dict[str, Any]
"""``size``, height and width, and ``counts``, text."""


@dataclass(frozen=True)
class Masks:
    """The masks ``rles`` found in an image of ``size``, height and width."""

    size: tuple[int, int]
    rles: list[RLE]


def encoded(
    batch: Mapping[str, Any], result: Mapping[str, Any], kept: Sequence[np.ndarray]
) -> Iterator[tuple[int, Masks]]:
    """Image ids of a batch and those of their masks that are ``kept``, bool (k,) of each image."""
    sizes = np.floor(host(batch["im_shape"]) / host(batch["scale_factor"]) + 0.5).astype(np.int64).tolist()
    found = np.split(host(result["mask"]), np.cumsum(host(result["bbox_num"]))[:-1])
    im_ids = host(batch["im_id"]).reshape(-1).tolist()
    for im_id, (height, width), masks, rows in zip(im_ids, sizes, found, kept, strict=True):
        yield im_id, Masks((height, width), encode(masks[rows, :height, :width]))


def encode(masks: np.ndarray) -> list[RLE]:
    """Each of ``masks`` uint8 (k, H, W), encoded."""
    from pycocotools import mask as coco

    return [_text(rle) for rle in coco.encode(np.asfortranarray(masks.transpose(1, 2, 0)))] if len(masks) else []


def annotated(segmentation: Any, size: tuple[int, int]) -> RLE | None:
    """The mask that an annotation of an image of ``size`` states, encoded; None where it has none or a broken one."""
    from pycocotools import mask as coco

    if isinstance(segmentation, Mapping) and read_rle(segmentation, size) is not None:
        counts = segmentation["counts"]
        return _text(coco.frPyObjects(dict(segmentation), *size)) if isinstance(counts, list) else dict(segmentation)
    polygons = segmentation if isinstance(segmentation, list) else []
    whole = [polygon for polygon in polygons if polygon_points(polygon) is not None]
    return _text(coco.merge(coco.frPyObjects(whole, *size))) if whole else None


def host(value: Any) -> np.ndarray:
    """A tensor or an array as an array."""
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)


def _text(rle: Mapping[str, Any]) -> RLE:
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}

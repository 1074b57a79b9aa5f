"""Dividing images into training and validation: lists with a seed, no copies."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppkd.data.datasets import DetectionDataset
from ppkd.data.datasets.coco import read_annotations
from ppkd.data.datasets.dataset import read_lines, resolve
from ppkd.data.datasets.voc import read_list
from ppkd.start.found import TRAIN, VAL, WHOLE, Found
from ppkd.utils.errors import DataError

FEW = 1000
SHARES = (0.2, 0.1)
"""Of the images for validation, where there are fewer than :data:`FEW`, and otherwise."""


def divide(found: Found, dataset: DetectionDataset, folder: Path, *, seed: int) -> Found:
    """``found`` with its images, all in ``dataset``, divided by ``seed``; the two lists are written into ``folder``.

    Every class of at least two images is in both parts. Raises :class:`DataError` for fewer than two images.
    """
    validation = choose(dataset, seed=seed)
    content = _jsons(found, validation) if found.kind == "COCODataSet" else _lines(found, dataset, validation)
    kept = {key: value for key, value in found.parts[WHOLE].items() if key == "image_dir"}
    undivided = replace(found, parts={TRAIN: kept, VAL: kept}, lists=content)
    return undivided.written(folder)


def choose(dataset: DetectionDataset, *, seed: int) -> set[int]:
    """The ids of the images for validation."""
    order = [annotation.im_id for annotation in dataset]
    if len(order) < 2:
        raise DataError(f"{dataset.anno_path}: {len(order)} images are too few to divide")
    random.Random(seed).shuffle(order)
    classes = {annotation.im_id: set(annotation.gt_class.tolist()) for annotation in dataset}
    holders = {label: [image for image in order if label in classes[image]] for label in set().union(*classes.values())}
    count = max(1, round(len(order) * SHARES[len(order) >= FEW]))
    chosen: list[int] = []
    # A class of few images would often be in one part alone; what is in none of them cannot be learned or measured.
    for label in sorted(holders, key=lambda each: (len(holders[each]), each)):
        if len(holders[label]) > 1 and not any(label in classes[image] for image in chosen):
            chosen.append(holders[label][0])
    chosen += [image for image in order if image not in {*chosen}][: max(count - len(chosen), 0)]
    return set(chosen[: len(order) - 1])


def _lines(found: Found, dataset: DetectionDataset, validation: set[int]) -> dict[str, Sequence[str]]:
    """The lines of both lists: those of the whole list, or the images of a folder."""
    by_image: dict[Path, str] = {}
    if found.kind == "VOCDataSet":
        listed = resolve(str(found.root), found.parts[WHOLE]["anno_path"])
        pairs = zip(read_list(listed, found.root), read_lines(listed, "pairs"), strict=True)
        by_image = {pair.image: line for pair, line in pairs}
    parts: dict[str, list[str]] = {TRAIN: [], VAL: []}
    for annotation in dataset:
        line = by_image.get(annotation.file) or str(annotation.file.relative_to(found.root))
        parts[VAL if annotation.im_id in validation else TRAIN].append(line)
    return dict(parts)


def _jsons(found: Found, validation: set[int]) -> dict[str, dict[str, Any]]:
    """The content of both json files; images that are missing stay in the one for training, where they are counted."""
    content = read_annotations(resolve(str(found.root), found.parts[WHOLE]["anno_path"]))
    return {part: _half(content, validation, inside=part == VAL) for part in (TRAIN, VAL)}


def _half(content: Any, validation: set[int], *, inside: bool) -> dict[str, Any]:
    images = [entry for entry in content["images"] if (entry["id"] in validation) == inside]
    boxes = [entry for entry in content.get("annotations", ()) if (entry["image_id"] in validation) == inside]
    return {**content, "images": images, "annotations": boxes}

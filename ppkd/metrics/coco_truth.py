"""Ground truth in the form that COCO's evaluation reads."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from typing import Any

from ppkd.data.datasets.coco import read_annotations
from ppkd.data.datasets.dataset import DetectionDataset

Entry = dict[str, Any]


def ground_truth(dataset: DetectionDataset, im_ids: Collection[int]) -> dict[str, list[Entry]]:
    """``images``, ``categories`` and ``annotations`` of the images ``im_ids``.

    A data set of a json file is read from it, so that areas of segments and crowds count as COCO means them; areas
    that are missing or no number are those of the boxes, and a box with a coordinate that is not finite is left out.
    Others are converted: COCO's evaluation has no difficult boxes, and they become crowds, which count neither as found
    nor as missed.
    """
    wanted = set(im_ids)
    from_file = dataset.anno_path is not None and dataset.anno_path.suffix.lower() == ".json"
    entries = _from_json(dataset, wanted) if from_file else _converted(dataset, wanted)
    return {
        "images": [{"id": im_id} for im_id in sorted(wanted)],
        "categories": [
            {"id": number, "name": name} for number, name in zip(dataset.category_ids, dataset.class_names, strict=True)
        ],
        # From 1, because COCO's evaluation takes a match with number 0 for none.
        "annotations": [{"id": index, **entry} for index, entry in enumerate(entries, start=1)],
    }


def _from_json(dataset: DetectionDataset, wanted: set[int]) -> Iterator[Entry]:
    assert dataset.anno_path is not None
    categories = set(dataset.category_ids)
    for entry in read_annotations(dataset.anno_path).get("annotations", ()):
        if entry["image_id"] in wanted and entry["category_id"] in categories:
            box = entry["bbox"]
            if not all(map(math.isfinite, box)):
                continue
            yield {
                "image_id": entry["image_id"],
                "category_id": entry["category_id"],
                "bbox": box,
                "area": entry["area"] if _is_area(entry.get("area")) else box[2] * box[3],
                "iscrowd": int(bool(entry.get("iscrowd"))),
            }


def _is_area(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _converted(dataset: DetectionDataset, wanted: set[int]) -> Iterator[Entry]:
    for annotation in dataset.annotations:
        if annotation.im_id not in wanted:
            continue
        ignored = (annotation.is_crowd + annotation.difficult) > 0
        for box, label, crowd in zip(annotation.gt_bbox.tolist(), annotation.gt_class, ignored, strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            yield {
                "image_id": annotation.im_id,
                "category_id": dataset.category_ids[label],
                "bbox": [box[0], box[1], width, height],
                "area": width * height,
                "iscrowd": int(crowd),
            }

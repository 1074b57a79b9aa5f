"""Ground truth in the form that COCO's evaluation reads."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ppkd.data.datasets.coco import read_annotations
from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.metrics.masks import annotated

Entry = dict[str, Any]
Size = tuple[int, int]


def ground_truth(dataset: DetectionDataset, sizes: Mapping[int, Size | None]) -> dict[str, list[Entry]]:
    """``images``, ``categories`` and ``annotations`` of the images whose ids ``sizes`` has.

    With an image's size, height and width, its annotations have masks, and those without a mask are left out.

    A data set of a json file is read from it, so that areas of segments and crowds count as COCO means them; areas
    that are missing or no number are those of the boxes, and a box with a coordinate that is not finite is left out.
    Others are converted: COCO's evaluation has no difficult boxes, and they become crowds, which count neither as found
    nor as missed.
    """
    from_file = dataset.anno_path is not None and dataset.anno_path.suffix.lower() == ".json"
    entries = _from_json(dataset, sizes) if from_file else _converted(dataset, sizes)
    return {
        "images": [_image(im_id, size) for im_id, size in sorted(sizes.items())],
        "categories": [
            {"id": number, "name": name} for number, name in zip(dataset.category_ids, dataset.class_names, strict=True)
        ],
        # From 1, because COCO's evaluation takes a match with number 0 for none.
        "annotations": [{"id": index, **entry} for index, entry in enumerate(entries, start=1)],
    }


def _image(im_id: int, size: Size | None) -> Entry:
    return {"id": im_id} if size is None else {"id": im_id, "height": size[0], "width": size[1]}


def _from_json(dataset: DetectionDataset, sizes: Mapping[int, Size | None]) -> Iterator[Entry]:
    assert dataset.anno_path is not None
    categories = set(dataset.category_ids)
    for entry in read_annotations(dataset.anno_path).get("annotations", ()):
        if entry["image_id"] in sizes and entry["category_id"] in categories:
            box = entry["bbox"]
            if not all(map(math.isfinite, box)):
                continue
            size = sizes[entry["image_id"]]
            mask = None if size is None else annotated(entry.get("segmentation"), size)
            if size is not None and mask is None:
                continue
            yield {
                **({} if mask is None else {"segmentation": mask}),
                "image_id": entry["image_id"],
                "category_id": entry["category_id"],
                "bbox": box,
                "area": entry["area"] if _is_area(entry.get("area")) else box[2] * box[3],
                "iscrowd": int(bool(entry.get("iscrowd"))),
            }


def _is_area(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _converted(dataset: DetectionDataset, wanted: Collection[int]) -> Iterator[Entry]:
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

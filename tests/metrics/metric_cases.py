"""Data sets and detections drawn from a seed, for the tests of metrics."""

import json
from pathlib import Path

import numpy as np

from ppkd.data.annotation import Annotation


class Truth:
    """What a metric reads of a data set."""

    def __init__(self, annotations, class_names, category_ids=None, anno_path=None):
        self.annotations = annotations
        self.class_names = tuple(class_names)
        self.category_ids = tuple(category_ids or range(1, len(class_names) + 1))
        self.anno_path = anno_path


def annotation(im_id, boxes, classes, difficult=None, crowd=None):
    count = len(classes)
    return Annotation(
        file=Path(f"{im_id}.jpg"),
        im_id=im_id,
        height=400,
        width=400,
        gt_bbox=np.array(boxes, np.float32).reshape(-1, 4),
        gt_class=np.array(classes, np.int64),
        is_crowd=np.zeros(count, np.int64) if crowd is None else np.array(crowd, np.int64),
        difficult=np.zeros(count, np.int64) if difficult is None else np.array(difficult, np.int64),
    )


def random_truth(seed, images=20, classes=4, largest=250.0):
    """Images of 400 pixels with 0 to 7 boxes, some difficult; ids are neither dense nor sorted."""
    rng = np.random.default_rng(seed)
    found = []
    for im_id in rng.permutation(1000)[:images].tolist():
        count = int(rng.integers(0, 8))
        corner, size = rng.uniform(0, 300, (count, 2)), rng.uniform(4, largest, (count, 2))
        boxes = np.concatenate([corner, np.minimum(corner + size, 400)], 1)
        found.append(annotation(im_id, boxes, rng.integers(0, classes, count), rng.random(count) < 0.2))
    return Truth(found, [f"class {i}" for i in range(classes)])


def random_detections(truth, seed, extra=10):
    """For each image, disturbed true boxes, doubles and noise, by descending score: {im_id: (k, 6)}."""
    rng = np.random.default_rng(seed)
    result = {}
    for a in truth.annotations:
        true = np.repeat(a.gt_bbox, 2, axis=0) + rng.normal(0, 6, (2 * len(a.gt_bbox), 4))
        corner = rng.uniform(0, 300, (extra, 2))
        boxes = np.concatenate([true, np.concatenate([corner, corner + rng.uniform(4, 100, (extra, 2))], 1)])
        labels = np.concatenate([np.repeat(a.gt_class, 2), rng.integers(0, len(truth.class_names), extra)])
        wrong = rng.random(len(labels)) < 0.1
        labels[wrong] = rng.integers(0, len(truth.class_names), wrong.sum())
        scores = np.round(rng.random(len(labels)), 2)
        order = np.argsort(-scores, kind="stable")
        result[a.im_id] = np.column_stack([labels, scores, boxes])[order].astype(np.float32)
    return result


def feed(metric, detections, batch_size=3):
    """Give ``detections`` to ``metric`` in batches, as a model does."""
    ids = list(detections)
    for start in range(0, len(ids), batch_size):
        some = ids[start : start + batch_size]
        rows = [np.asarray(detections[i], np.float32).reshape(-1, 6) for i in some]
        batch = {"im_id": np.array(some, np.int64)[:, None]}
        metric.update(batch, {"bbox": np.concatenate(rows), "bbox_num": np.array([len(r) for r in rows], np.int32)})
    return metric


def coco_json(path, truth, seed=0, without=()):
    """Write ``truth`` as COCO json with crowds and segment areas; ``without`` leaves keys out of the annotations."""
    rng = np.random.default_rng(seed)
    entries = []
    for a in truth.annotations:
        for box, label in zip(a.gt_bbox.astype(float).tolist(), a.gt_class.tolist(), strict=True):
            width, height = box[2] - box[0], box[3] - box[1]
            entry = {
                "id": len(entries) + 1,
                "image_id": a.im_id,
                "category_id": truth.category_ids[label],
                "bbox": [box[0], box[1], width, height],
                "area": width * height * rng.uniform(0.3, 1.0),
                "iscrowd": int(rng.random() < 0.15),
            }
            entries.append({key: value for key, value in entry.items() if key not in without})
    content = {
        "images": [{"id": a.im_id, "file_name": a.file.name, "height": 400, "width": 400} for a in truth.annotations],
        "categories": [
            {"id": number, "name": name} for number, name in zip(truth.category_ids, truth.class_names, strict=True)
        ],
        "annotations": entries,
    }
    path.write_text(json.dumps(content))
    return Truth(truth.annotations, truth.class_names, truth.category_ids, path)

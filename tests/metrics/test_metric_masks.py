"""AP of masks is pycocotools', and what becomes of images, annotations and detections without a mask."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from metric_cases import Truth, annotation
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppkd.metrics import COCOMetric

SIDE, IMAGES, OBJECTS = 60, 6, 4


def blob(rng):
    """A filled ellipse somewhere."""
    y, x = np.mgrid[:SIDE, :SIDE]
    centre, radius = rng.uniform(15, 45, 2), rng.uniform(5, 14, 2)
    return (((y - centre[0]) / radius[0]) ** 2 + ((x - centre[1]) / radius[1]) ** 2 <= 1).astype(np.uint8)


def box(mask):
    rows, columns = np.nonzero(mask)
    return [int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]


def entry(number, image, mask, segmentation):
    fields = {"category_id": number % 2 + 1, "bbox": box(mask), "area": int(mask.sum()), "iscrowd": 0}
    return {"id": number + 1, "image_id": image, "segmentation": segmentation, **fields}


def plain(mask):
    rle = coco.encode(np.asfortranarray(mask))
    return {"size": rle["size"], "counts": rle["counts"].decode()}


@pytest.fixture
def case(tmp_path):
    """Ground truth in a file, and what a model finds: the true masks moved by up to two pixels, and noise."""
    rng = np.random.default_rng(3)
    entries, found = [], {}
    for image in range(1, IMAGES + 1):
        masks = [blob(rng) for _ in range(OBJECTS)]
        entries += [entry(len(entries) + i, image, mask, plain(mask)) for i, mask in enumerate(masks)]
        moved = [np.roll(mask, rng.integers(-2, 3, 2), (0, 1)) for mask in masks] + [blob(rng)]
        labels = [(entry["category_id"] - 1) for entry in entries[-OBJECTS:]] + [0]
        found[image] = [(label, rng.random(), mask) for label, mask in zip(labels, moved, strict=True)]
    images = [{"id": i, "file_name": f"{i}.jpg", "height": SIDE, "width": SIDE} for i in found]
    content = {"images": images, "annotations": entries, "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]}
    return write(tmp_path / "truth.json", content), content, found


def write(path, content):
    path.write_text(json.dumps(content))
    return path


def truth(path):
    annotations = [annotation(i, [[0, 0, 9, 9]], [0]) for i in range(1, IMAGES + 1)]
    return Truth(annotations, ["a", "b"], anno_path=path)


def feed(metric, found, larger=0):
    """All images in one batch, on a canvas that is ``larger`` than they are."""
    rows = [
        [label, score, *np.add(box(mask), [0, 0, *box(mask)[:2]])]
        for own in found.values()
        for label, score, mask in own
    ]
    masks = np.stack([np.pad(mask, (0, larger)) for own in found.values() for *_, mask in own])
    size = np.full((len(found), 2), SIDE, np.float32)
    batch = {"im_id": np.array(list(found))[:, None], "im_shape": size, "scale_factor": np.ones_like(size)}
    counts = np.array([len(own) for own in found.values()])
    metric.update(batch, {"bbox": np.array(rows, np.float32), "bbox_num": counts, "mask": masks})


def test_figures_are_pycocotools(case, tmp_path, caplog):
    path, content, found = case
    metric = COCOMetric(truth(path), output_dir=tmp_path / "out")
    feed(metric, found, larger=7)
    figures = metric.accumulate()
    reference = COCO()
    reference.dataset = content
    reference.createIndex()
    results = [
        {"image_id": i, "category_id": label + 1, "segmentation": plain(mask), "score": score}
        for i, own in found.items()
        for label, score, mask in own
    ]
    evaluation = COCOeval(reference, reference.loadRes(results), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    np.testing.assert_allclose([figures[f"segm_{name}"] for name in names], evaluation.stats, atol=1e-6)
    assert 0.2 < figures["segm_AP"] < 0.95
    assert figures["segm_AP"] != figures["AP"]
    assert json.loads((tmp_path / "out/metrics.json").read_text()) == figures
    written = json.loads((tmp_path / "out/mask.json").read_text())
    assert [row["segmentation"] for row in written] == [row["segmentation"] for row in results]
    with caplog.at_level("INFO"):
        metric.log(logging.getLogger("ppkd"))
    assert [line.getMessage() for line in caplog.records if "type" in line.message] == [
        "Evaluate annotation type *bbox*",
        "Evaluate annotation type *segm*",
    ]


def test_polygons_and_rle_count_alike_and_a_broken_one_is_left_out(case):
    path, content, found = case
    square = [10, 10, 40, 10, 40, 40, 10, 40]
    filled = coco.decode(coco.merge(coco.frPyObjects([square], SIDE, SIDE)))
    values = []
    for segmentation in ([square], plain(filled), [square, [1, 2]]):
        content["annotations"] = [entry(0, i, filled, segmentation) for i in found]
        for number, own in enumerate(content["annotations"]):
            own.update(id=number + 1, category_id=1)
        content["annotations"].append(
            {**content["annotations"][0], "id": 99, "segmentation": {"size": [2, 2], "counts": [4]}}
        )
        metric = COCOMetric(truth(write(path, content)))
        feed(metric, {i: [(0, 0.9, filled)] for i in found})
        values.append(metric.accumulate()["segm_AP"])
    assert values == [pytest.approx(1.0)] * 3


def test_without_annotated_masks_there_are_boxes_alone(case, caplog):
    path, content, found = case
    for own in content["annotations"]:
        del own["segmentation"]
    metric = COCOMetric(truth(write(path, content)))
    feed(metric, found)
    assert not any(name.startswith("segm") for name in metric.accumulate())
    assert "no annotated mask" in caplog.text

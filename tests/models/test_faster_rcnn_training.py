"""Faster R-CNN learns drawn shapes by heart."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from narrow import narrow

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.models import build_detector
from ppkd.structures import Batch
from ppkd.structures.boxes import pairwise_iou

SIDE, IMAGES, STEPS = 96, 4, 100


def drawn(folder: Path) -> Batch:
    draw_shapes(folder, images_train=IMAGES, images_val=1, size=SIDE, seed=3)
    content = json.loads((folder / "annotations" / "instances_train.json").read_text())
    classes = {entry["id"]: i for i, entry in enumerate(content["categories"])}
    images, boxes, labels = [], [], []
    for image in content["images"]:
        pixels = cv2.imread(str(folder / "train" / image["file_name"])).transpose(2, 0, 1)
        images.append(((pixels / 255 - 0.45) / 0.225).astype("float32"))
        found = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        corners = np.array([entry["bbox"] for entry in found], "float32").reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        boxes.append(paddle.to_tensor(corners))
        labels.append(paddle.to_tensor(np.array([classes[entry["category_id"]] for entry in found], "int64")))
    return {
        "image": paddle.to_tensor(np.stack(images)),
        "im_shape": paddle.full([IMAGES, 2], float(SIDE)),
        "scale_factor": paddle.ones([IMAGES, 2]),
        "gt_bbox": boxes,
        "gt_class": labels,
    }


@pytest.mark.slow
def test_shapes_are_learned_by_heart(root, tmp_path):
    batch = drawn(tmp_path)
    paddle.seed(0)
    path = root / "configs" / "shapes" / "faster_rcnn_r18_160_shapes.yml"
    small = ["FPN.out_channel=32", "TwoFCHead.out_channel=128", *narrow(load_config(path))]
    model = build_detector(load_config(path, small))
    clip = paddle.nn.ClipGradByGlobalNorm(35.0)
    optimizer = paddle.optimizer.AdamW(2e-3, parameters=model.parameters(), weight_decay=5e-4, grad_clip=clip)
    model.train()
    for _ in range(STEPS):
        losses = model(batch)
        losses["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
    model.eval()
    with paddle.no_grad():
        found = model.predict(batch)
    images = np.split(found["bbox"].numpy(), found["bbox_num"].numpy().cumsum()[:-1])
    known = [(i, box, label.item()) for i in range(IMAGES) for box, label in zip(*truth(batch, i), strict=True)]
    assert len(known) > 8
    assert sum(hit(images[i], box, label) for i, box, label in known) >= 0.9 * len(known)
    sure = sum((rows[:, 1] > 0.5).sum() for rows in images)
    assert sure <= 1.5 * len(known)


def truth(batch: Batch, image: int) -> tuple[paddle.Tensor, paddle.Tensor]:
    return batch["gt_bbox"][image], batch["gt_class"][image]


def hit(rows: np.ndarray, box: paddle.Tensor, label: int) -> bool:
    """Whether a detection that scores above 0.5 has the class and half of the box."""
    same = rows[(rows[:, 0] == label) & (rows[:, 1] > 0.5)]
    return len(same) > 0 and pairwise_iou(paddle.to_tensor(same[:, 2:]), box.unsqueeze(0)).max().item() > 0.5

"""A picture with two boxes and one without, and how a detector with two assigners learns it by heart."""

from __future__ import annotations

import numpy as np
import paddle

from ppkd.models.detectors.detector import Detector
from ppkd.structures import Batch

SIDE = 128
BOXES = {1: (8, 8, 72, 88), 3: (64, 32, 120, 100)}


def batch() -> Batch:
    """Noise of 128 x 128 pixels twice: the first image has the two boxes, by class, the second none."""
    image = np.random.default_rng(1).standard_normal((2, 3, SIDE, SIDE)).astype("float32")
    return {
        "image": paddle.to_tensor(image),
        "im_shape": paddle.full([2, 2], float(SIDE)),
        "scale_factor": paddle.ones([2, 2]),
        "gt_bbox": [paddle.to_tensor(list(BOXES.values()), dtype="float32"), paddle.zeros([0, 4])],
        "gt_class": [paddle.to_tensor(list(BOXES)), paddle.zeros([0], dtype="int64")],
    }


def check_learning(model: Detector, rate: float, steps: int) -> None:
    """The static assigner (the first half of ``steps``, epoch 0) lowers the loss; after the other, boxes are found."""
    optimizer = paddle.optimizer.AdamW(rate, parameters=model.parameters())
    inputs, half, values = batch(), steps // 2, []
    for step in range(steps):
        model.set_progress(step / half)
        terms = model(inputs)
        terms["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()
        values.append(float(terms["loss"]))
    assert np.mean(values[half - 5 : half]) < 0.6 * values[0]
    model.eval()
    found = model.predict(inputs)
    rows = found["bbox"][: int(found["bbox_num"][0])].numpy()
    for label, box in BOXES.items():
        np.testing.assert_allclose(rows[rows[:, 0] == label][0][2:], box, atol=8)

"""Records of made-up query detectors for tests of losses between them: a memory, and what decoder layers answer."""

from __future__ import annotations

import numpy as np
import paddle

from ppkd.distill.side import Side
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Points, Record

CLASSES, CHANNELS, STRIDES, SIZE = 3, 6, (8, 16), 64
IMAGES, QUERIES = 2, 5


def spec(
    name="Some",
    layers=3,
    classes=CLASSES,
    channels=CHANNELS,
    strides=STRIDES,
    activation="sigmoid",
    coding="cxcywh",
    abilities=("boxes", "points", "answer"),
):
    """What such a detector records."""
    entries = {
        "memory": Entry("feature", "grid", tuple(LevelSpec(channels, stride) for stride in strides)),
        "query_features": Entry.rows("feature", channels, stages=layers),
        "query_logits": Entry.rows("class", classes, stages=layers, activation=activation),
        "query_boxes": Entry.rows("box", 4, stages=layers, coding=coding),
    }
    return DetectorSpec(name, classes, entries, frozenset(abilities))


def numbers(seed, layers=3, queries=QUERIES, channels=CHANNELS):
    """The arrays of a record by entry, drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    centres, sides = (rng.uniform(*ends, (layers, IMAGES, queries, 2)) for ends in ((0.3, 0.7), (0.1, 0.5)))
    return {
        "memory": [rng.normal(size=(IMAGES, 1, channels, SIZE // stride, SIZE // stride)) for stride in STRIDES],
        "query_features": list(rng.normal(size=(layers, IMAGES, queries, channels))),
        "query_logits": list(rng.normal(0, 1.5, (layers, IMAGES, queries, CLASSES))),
        "query_boxes": list(np.concatenate([centres, sides], axis=-1)),
    }


def record(arrays, **settings):
    """The record of such ``arrays``, whose tensors take gradients."""
    tensors = {
        name: [paddle.to_tensor(one.astype("float32"), stop_gradient=False) for one in stages]
        for name, stages in arrays.items()
    }
    return Record(spec(**{"layers": len(arrays["query_logits"]), **settings}), tensors)


def corners(boxes):
    """cx, cy, w, h as corners."""
    return np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], axis=-1)


class Asked:
    """A side that answers at other points with the record that was prepared for them, and remembers the points."""

    def __init__(self, own, answers=(), start=0.5):
        self.answers, self.points = list(answers), []
        self.start = Points(paddle.full([IMAGES, QUERIES, 4], start), paddle.zeros([IMAGES, QUERIES], "int64"))
        self.side = Side(own, {"boxes": self.boxes, "points": lambda record: self.start, "answer": self.answer})

    def answer(self, record, points):
        self.points.append(points)
        return self.answers.pop(0)

    def boxes(self, record):
        centres = [stage.numpy() for stage in record["query_boxes"]]
        return [paddle.to_tensor(SIZE * corners(stage)) for stage in centres]


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def giou(first, second):
    """The generalised overlap of corner boxes (4,)."""
    shared = np.prod(np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None))
    union = np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]) - shared
    around = np.prod(np.maximum(first[2:], second[2:]) - np.minimum(first[:2], second[:2]))
    return shared / union - (around - union) / around

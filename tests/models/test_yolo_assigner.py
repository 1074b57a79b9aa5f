"""The vectorised assignment against a plain loop over boxes, anchors and cells."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest

from ppkd.models.assigners.yolo_assigner import YOLOAssigner, decode, resolve
from ppkd.models.heads.yolo_head import ANCHOR_MASKS, ANCHORS
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth

CLASSES, HEIGHT, WIDTH = 4, 64, 96
STRIDES = (8, 16, 32)
MASKS = ANCHOR_MASKS[::-1]


def assigner(ignore_thresh=0.7, scale_x_y=1.0):
    return YOLOAssigner(
        anchors=ANCHORS,
        anchor_masks=MASKS,
        strides=STRIDES,
        num_classes=CLASSES,
        ignore_thresh=ignore_thresh,
        scale_x_y=scale_x_y,
    )


def random_record(images, seed):
    draw = np.random.default_rng(seed)
    raw = [draw.normal(0, 1, (images, 3, 4, HEIGHT // s, WIDTH // s)).astype("float32") for s in STRIDES]
    levels = tuple(LevelSpec(4, stride, 3) for stride in STRIDES)
    spec = DetectorSpec("Toy", CLASSES, {"box_xywh": Entry("box", "grid", levels, coding="yolo")})
    return Record(spec, {"box_xywh": [paddle.to_tensor(level) for level in raw]})


def random_batch(counts, seed, scored=False):
    """Boxes crowd around a few points, so that many fall in one cell."""
    draw = np.random.default_rng(seed)
    boxes, labels, scores = [], [], []
    for count in counts:
        centre = draw.choice([[20.0, 20.0], [70.0, 40.0], [50.0, 55.0]], count) + draw.normal(0, 2, (count, 2))
        half = draw.choice([[6.0, 7.0], [15.0, 12.0], [40.0, 30.0]], count) * draw.uniform(0.9, 1.1, (count, 2)) / 2
        boxes.append(np.concatenate([centre - half, centre + half], 1).astype("float32"))
        labels.append(draw.integers(0, CLASSES, count))
        scores.append(draw.choice([0.0, 0.4, 1.0], count).astype("float32"))
    batch = {"image": paddle.zeros([len(counts), 3, HEIGHT, WIDTH])}
    batch["gt_bbox"] = [paddle.to_tensor(box.reshape(-1, 4)) for box in boxes]
    batch["gt_class"] = [paddle.to_tensor(label.astype("int64")) for label in labels]
    if scored:
        batch["gt_score"] = [paddle.to_tensor(score) for score in scores]
    return batch


def loop(batch, level):
    """Dense targets [N, 3, 6 + C, H, W] of one level: x, y, w, h, scale, score, classes; later boxes overwrite."""
    height, width = HEIGHT // STRIDES[level], WIDTH // STRIDES[level]
    dense = np.zeros((len(batch["gt_bbox"]), 3, 6 + CLASSES, height, width))
    for image, (boxes, labels) in enumerate(zip(batch["gt_bbox"], batch["gt_class"], strict=True)):
        scores = batch["gt_score"][image].numpy() if "gt_score" in batch else np.ones(len(boxes))
        for (x1, y1, x2, y2), label, score in zip(boxes.numpy(), labels.numpy(), scores, strict=True):
            w, h = x2 - x1, y2 - y1
            if w <= 0 or h <= 0 or score <= 0:
                continue
            overlaps = [min(w, a) * min(h, b) / (w * h + a * b - min(w, a) * min(h, b)) for a, b in ANCHORS]
            best = int(np.argmax(overlaps))
            if best not in MASKS[level]:
                continue
            x, y = (x1 + x2) / 2 / WIDTH * width, (y1 + y2) / 2 / HEIGHT * height
            column, row = min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)
            cell = dense[image, MASKS[level].index(best), :, row, column]
            size = [math.log(w / ANCHORS[best][0]), math.log(h / ANCHORS[best][1])]
            cell[:6] = [x - column, y - row, *size, 2 - w * h / (WIDTH * HEIGHT), score]
            cell[6 + label] = 1
    return dense


def densify(target, shape):
    dense = np.zeros(shape)
    images, anchors, _, height, width = shape
    for image in range(images):
        for box in np.flatnonzero(target.weight[image].numpy()):
            anchor, row, column = np.unravel_index(target.cell[image, box].item(), (anchors, height, width))
            parts = [target.xy, target.wh, target.scale.unsqueeze(-1), target.weight.unsqueeze(-1), target.classes]
            dense[image, anchor, :, row, column] = np.concatenate([part[image, int(box)].numpy() for part in parts])
    return dense


@pytest.mark.parametrize("scored", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_assignment_equals_a_loop(seed, scored):
    counts = [12, 0, 60, 1]
    batch = random_batch(counts, seed, scored)
    shared = 0
    for level, target in enumerate(assigner()(random_record(len(counts), seed), Truth.of(batch)).levels):
        expected = loop(batch, level)
        np.testing.assert_allclose(densify(target, expected.shape), expected, atol=2e-5)
        np.testing.assert_array_equal(target.positive.numpy().reshape(expected[:, :, 5].shape), expected[:, :, 5] > 0)
        shared += (expected[:, :, 6:].sum(2) > 1).sum()
    assert shared > 0, "some cell must be claimed by boxes of several classes"


@pytest.mark.parametrize("scale_x_y", [1.0, 1.2])
def test_cells_are_ignored_as_in_a_loop(scale_x_y):
    batch, record = random_batch([5, 0], 1), random_record(2, 1)
    thresh = 0.4
    targets = assigner(thresh, scale_x_y)(record, Truth.of(batch))
    ignored = 0
    for level, target in enumerate(targets.levels):
        raw, anchors = record.box_xywh[level].numpy(), [ANCHORS[i] for i in MASKS[level]]
        height, width = raw.shape[-2:]
        for image, anchor, row, column in np.ndindex(2, 3, height, width):
            x, y, w, h = raw[image, anchor, :, row, column].astype("float64")
            shift = (scale_x_y - 1) / 2
            cx = (scale_x_y / (1 + np.exp(-x)) - shift + column) * STRIDES[level]
            cy = (scale_x_y / (1 + np.exp(-y)) - shift + row) * STRIDES[level]
            w, h = np.exp(w) * anchors[anchor][0], np.exp(h) * anchors[anchor][1]
            best = 0.0
            for x1, y1, x2, y2 in batch["gt_bbox"][image].numpy():
                wide, high = min(x2, cx + w / 2) - max(x1, cx - w / 2), min(y2, cy + h / 2) - max(y1, cy - h / 2)
                inner = max(wide, 0) * max(high, 0)
                best = max(best, inner / ((x2 - x1) * (y2 - y1) + w * h - inner))
            cell = (anchor * height + row) * width + column
            if abs(best - thresh) > 1e-4 and not target.positive[image, cell].item():
                assert target.objectness_weight[image, cell].item() == float(best <= thresh)
                ignored += best > thresh
    assert ignored > 0


def test_a_batch_without_boxes_has_only_empty_cells():
    targets = assigner()(random_record(2, 0), Truth.of(random_batch([0, 0], 0)))
    for target in targets.levels:
        assert target.weight.abs().sum().item() == 0
        assert target.positive.sum().item() == 0
        assert (target.objectness_weight == 1).all()


def test_degenerate_boxes_and_those_beyond_the_edge():
    batch = random_batch([0], 0)
    batch["gt_bbox"] = [paddle.to_tensor([[10.0, 10.0, 10.0, 30.0], [90.0, 50.0, 102.0, 78.0]])]
    batch["gt_class"] = [paddle.to_tensor([0, 1])]
    targets = assigner()(random_record(1, 0), Truth.of(batch))
    assert sum(target.positive.sum().item() for target in targets.levels) == 1
    fine = targets.levels[0]
    assert fine.cell[0, 1].item() == (1 * 8 + 7) * 12 + 11, "anchor 16 x 30, last row, last column"
    assert all(paddle.isfinite(target.wh).all() for target in targets.levels)


def test_padding_takes_the_scores_of_mixup():
    batch = random_batch([2, 3], 0)
    batch["gt_score"] = [paddle.to_tensor([0.3, 0.7]), paddle.ones([3])]
    truth = Truth.of(batch)
    np.testing.assert_allclose(truth.scores.numpy(), [[0.3, 0.7, 0], [1, 1, 1]], rtol=1e-6)


def test_the_last_box_owns_a_shared_cell():
    cell = paddle.to_tensor([[5, 5, 7, 5]])
    weight = paddle.to_tensor([[1.0, 0.5, 1.0, 0.0]])
    classes = paddle.nn.functional.one_hot(paddle.to_tensor([[0, 2, 1, 3]]), 4)
    kept, united = resolve(cell, weight, classes)
    assert kept.tolist() == [[0, 0.5, 1, 0]]
    assert united[0, 1].tolist() == [1, 0, 1, 0]
    assert united[0, 2].tolist() == [0, 1, 0, 0]


def test_decoding_of_a_hand_worked_cell():
    raw = paddle.zeros([1, 1, 4, 2, 4])
    raw[0, 0, 2, 1, 3] = math.log(2.0)
    boxes = decode(raw, paddle.to_tensor([[16.0, 8.0]]), 32, 1.0)
    np.testing.assert_allclose(boxes[0, 7].numpy(), [3.5 * 32, 1.5 * 32, 32, 8], rtol=1e-6)

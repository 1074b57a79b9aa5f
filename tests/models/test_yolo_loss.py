"""YOLOv3's loss: what it is without boxes, with label smoothing, and cell by cell against the dense formula."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from ppkd.models.losses.yolo_loss import YOLOv3Loss, at_cells
from ppkd.structures import Record


def leaves(record: Record) -> Record:
    """The same numbers as leaves of a new graph."""

    def fresh(level):
        copy = level.detach().clone()
        copy.stop_gradient = False
        return copy

    return record.map(fresh)


def test_cells_are_picked_with_their_gradient():
    level = paddle.arange(2 * 3 * 2 * 4, dtype="float32").reshape([1, 2, 3, 2, 4])
    level.stop_gradient = False
    picked = at_cells(level, paddle.to_tensor([[0, 13, 13]]))
    np.testing.assert_array_equal(picked[0].numpy(), [[0, 8, 16], [29, 37, 45], [29, 37, 45]])
    picked.sum().backward()
    assert level.grad[0, 0, :, 0, 0].tolist() == [1, 1, 1]
    assert level.grad[0, 1, :, 1, 1].tolist() == [2, 2, 2]
    assert level.grad.sum().item() == 9


def test_without_boxes_only_objectness_learns(tiny, batches):
    batch = batches(64, 96, [0, 0], 3)
    record = leaves(tiny.extract(batch))
    terms = tiny.loss(record, tiny.assign(record, batch))
    assert [terms[name].item() for name in ("loss_xy", "loss_wh", "loss_cls")] == [0, 0, 0]
    assert np.isfinite(terms["loss_obj"].item())
    paddle.add_n(list(terms.values())).backward()
    assert all((level.grad == 0).all() for level in record.box_xywh + record.cls_logits)
    assert all((level.grad > 0).all() for level in record.objectness)


def test_a_step_without_boxes_reaches_every_parameter(tiny, batches):
    tiny(batches(64, 96, [0, 0], 3))["loss"].backward()
    for name, parameter in tiny.named_parameters():
        if not parameter.stop_gradient:
            assert paddle.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("scale_x_y", [1.0, 1.05])
@pytest.mark.parametrize("smooth", [False, True])
def test_terms_equal_the_dense_formula(tiny, batches, smooth, scale_x_y):
    batch = batches(64, 96, [4, 2], 3)
    record = leaves(tiny.extract(batch))
    targets = tiny.assign(record, batch)
    terms = YOLOv3Loss(label_smooth=smooth, scale_x_y=scale_x_y)(record, targets)
    expected = dict.fromkeys(terms, 0.0)
    for level, t in enumerate(targets.levels):
        for image, box in zip(*np.nonzero(t.weight.numpy()), strict=True):
            image, box = int(image), int(box)
            height, width = record.box_xywh[level].shape[-2:]
            anchor, row, column = np.unravel_index(t.cell[image, box].item(), (3, height, width))
            where = (image, int(anchor), slice(None), int(row), int(column))
            numbers, logits = record.box_xywh[level][where], record.cls_logits[level][where]
            weight = t.weight[image, box].item()
            if scale_x_y == 1:
                xy = F.binary_cross_entropy_with_logits(numbers[:2], t.xy[image, box], reduction="sum").item()
            else:
                xy = (1.05 * F.sigmoid(numbers[:2]) - 0.025 - t.xy[image, box]).abs().sum().item()
            expected["loss_xy"] += weight * t.scale[image, box].item() * xy
            size = (numbers[2:] - t.wh[image, box]).abs().sum().item()
            expected["loss_wh"] += weight * t.scale[image, box].item() * size
            wanted = t.classes[image, box]
            if smooth:
                wanted = paddle.where(wanted > 0, paddle.to_tensor(1 - 1 / 40), paddle.to_tensor(1 / 40))
            expected["loss_cls"] += weight * F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum").item()
        flat = record.objectness[level].flatten(1)
        error = F.binary_cross_entropy_with_logits(flat, t.positive, reduction="none") * t.objectness_weight
        expected["loss_obj"] += error.sum().item()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value / 2, rel=1e-5), name

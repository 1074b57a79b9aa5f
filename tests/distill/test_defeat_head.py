"""DeFeat on proposals against the authors' code, and what must hold beyond its numbers."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, leaf

from ppkd.distill import Context
from ppkd.distill.losses import DeFeatHead, DeFeatHeadLoss
from ppkd.models.assigners.two_stage_targets import TwoStageTargets
from ppkd.structures import PER_PROPOSAL, DetectorSpec, LevelSpec, RoIRecord
from ppkd.utils.errors import SpecError


def spec(classes=3, name="Some"):
    return DetectorSpec(name, classes, "softmax", {"roi_logits": (LevelSpec(classes + 1, PER_PROPOSAL),)})


def record(logits):
    empty = paddle.zeros([1])
    return RoIRecord([], empty, empty, empty, logits, empty, [], [])


@pytest.mark.parametrize(("term", "weights"), [("losskd_hcls", (2.0, 0.0)), ("losskd_hcls_back", (0.0, 2.0))])
def test_values_and_gradients(term, weights):
    meta, arrays = golden("defeat_neck_cls")
    ours, theirs = leaf(arrays["in.cls_score_s"]), leaf(arrays["in.cls_score_t"])
    formula = DeFeatHeadLoss(meta["hyper"]["head_cls_T"], *weights)
    value = formula(ours, theirs, paddle.to_tensor(arrays["in.labels"].astype("int64")))
    assert_close(value, arrays[f"out.{term}"], rtol=1e-5)
    value.backward()
    assert_close(ours.grad, arrays[f"grad.{term}.cls_score_s"], rtol=1e-4, atol=1e-7)
    assert theirs.grad is None


def test_equal_logits_and_missing_proposals_cost_nothing():
    ours, theirs = leaf(np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")), paddle.randn([2, 5, 4])
    formula = DeFeatHeadLoss()
    labels = paddle.to_tensor([[0, 3, -1, 2, 3], [-1, -1, -1, -1, -1]])
    same = formula(ours, ours.clone(), labels)
    same.backward()
    assert abs(same.item()) < 1e-6 and np.abs(ours.grad.numpy()).max() < 1e-6
    ours.clear_gradient()
    assert formula(ours, theirs, paddle.full_like(labels, -1)).item() == 0
    formula(ours, theirs, labels).backward()
    assert (ours.grad.abs().sum(axis=2) > 0).tolist() == (labels >= 0).tolist()
    first = formula(ours[:1], theirs[:1], labels[:1]).item()
    assert formula(ours, theirs, labels).item() == pytest.approx(first, rel=1e-6)


def test_the_wiring_reads_labels_from_the_students_targets():
    ours, theirs = paddle.randn([2, 5, 4]), paddle.randn([2, 5, 4])
    labels = paddle.to_tensor([[0, 3, -1, 2, 3], [1, 3, 3, -1, -1]])
    targets = TwoStageTargets(rpn=None, roi_labels=labels, roi_matched_gt_boxes=paddle.zeros([2, 5, 4]))
    loss = DeFeatHead(spec(), spec(), T=2.0, foreground=1.0, background=3.0)
    found = loss(record(ours), record(theirs), Context({}, targets))
    assert found.item() == pytest.approx(DeFeatHeadLoss(2.0, 1.0, 3.0)(ours, theirs, labels).item(), rel=1e-6)
    with pytest.raises(SpecError, match=r"DeFeatHead.*roi_logits"):
        DeFeatHead(spec(3), spec(4, "Other"))

"""DeFeat on proposals against the authors' code, and what must hold beyond its numbers."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, leaf
from sides import side

from ppkd.distill import Progress
from ppkd.distill.losses import DeFeatHead, DeFeatHeadLoss
from ppkd.models.assigners.two_stage_targets import TwoStageTargets
from ppkd.structures import DetectorSpec, Entry, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError


def spec(classes=3, name="Some"):
    entries = {
        "proposals": Entry.rows("box", 4, coding="corners"),
        "roi_logits": Entry.rows("class", classes + 1, activation="softmax"),
    }
    return DetectorSpec(name, classes, entries, frozenset({"assign", "at"}))


def record(logits):
    return Record(spec(), {"proposals": [paddle.zeros([2, 5, 4])], "roi_logits": [logits]})


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
    targets = TwoStageTargets(
        rpn=None, roi_labels=labels, roi_matched=None, roi_matched_gt_boxes=paddle.zeros([2, 5, 4])
    )
    loss = DeFeatHead(spec(), spec(), T=2.0, foreground=1.0, background=3.0)
    truth = Truth.around(paddle.zeros([2, 1, 4]))
    found = loss(side(record(ours), targets=targets), side(record(theirs)), truth, Progress())
    assert found.item() == pytest.approx(DeFeatHeadLoss(2.0, 1.0, 3.0)(ours, theirs, labels).item(), rel=1e-6)
    with pytest.raises(SpecError, match=r"DeFeatHead.*roi_logits"):
        DeFeatHead(spec(3), spec(4, "Other"))

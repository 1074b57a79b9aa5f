"""Records name their entries and can be cut to some of their images."""

from __future__ import annotations

import numpy as np
import paddle
import pytest

from ppkd.structures import DenseRecord, DetectorSpec, LevelSpec, QualityRecord, RoIRecord, TowerDeltaRecord, YOLORecord
from ppkd.utils.errors import SpecError


def test_entries_list_the_base_first():
    assert YOLORecord.entries() == ("neck", "cls_logits", "objectness", "box_xywh")


def test_images_keeps_the_chosen_ones_in_order():
    level = paddle.arange(3, dtype="float32").reshape([3, 1])
    record = YOLORecord(neck=[level], cls_logits=[level + 10], objectness=[level], box_xywh=[level, level + 20])
    cut = record.images(paddle.to_tensor([2, 0]))
    assert isinstance(cut, YOLORecord)
    assert cut.cls_logits[0].flatten().tolist() == [12, 10]
    assert cut.box_xywh[1].flatten().tolist() == [22, 20]


def test_scores_are_what_ranks_the_detections():
    """Probabilities of classes, times the quality or the objectness where there is one."""
    logits = paddle.to_tensor([0.0, 1.0, -2.0]).reshape([1, 1, 3, 1, 1])
    half, one = paddle.full([1, 1, 1, 1, 1], 0.5), paddle.ones([1, 1, 1, 1, 1])
    expected = np.float32([1 / 2, 1 / (1 + np.exp(-1)), 1 / (1 + np.exp(2))])
    plain = DenseRecord([one], [logits])
    rated = QualityRecord([one], [logits], [one], [half])
    seen = YOLORecord([one], [logits], [one], [one])
    for record, factor in ((plain, 1.0), (rated, 0.5), (seen, 1 / (1 + np.exp(-1)))):
        np.testing.assert_allclose(record.scores()[0].flatten().numpy(), factor * expected, rtol=1e-6)
        np.testing.assert_allclose(record.best_scores()[0].numpy().ravel(), [factor * expected.max()], rtol=1e-6)


def test_features_inside_of_a_head_that_nobody_reads_are_let_go():
    level = [paddle.ones([1, 1, 1, 1, 1])]
    record = TowerDeltaRecord(neck=level, cls_logits=level, box_deltas=level, cls_features=level, box_features=level)
    cut = record.reading({"cls_features", "box_deltas"})
    assert isinstance(cut, TowerDeltaRecord)
    assert {name: len(getattr(cut, name)) for name in cut.entries()} == {
        **dict.fromkeys(record.entries(), 1),
        "box_features": 0,
    }
    assert cut.images(paddle.to_tensor([0])).levels([0]).box_features == []
    assert record.reading(record.entries()) is record


def test_a_spec_names_both_sides_of_a_mismatch():
    spec = DetectorSpec("Toy", 3, "sigmoid", {"neck": (LevelSpec(8, 16),)})
    spec.offers(["neck"], "PKD")
    with pytest.raises(SpecError, match=r"LD consumes \['box_dist'\].*Toy records \['neck'\]"):
        spec.offers(["box_dist"], "LD")


def test_a_record_of_proposals_is_cut_converted_and_thinned_as_a_whole():
    level = paddle.arange(3, dtype="float32").reshape([3, 1, 1, 1, 1])
    rows = paddle.arange(6, dtype="float32").reshape([3, 2, 1])
    record = RoIRecord(
        neck=[level, level + 1],
        proposals=rows.expand([3, 2, 4]),
        proposal_num=paddle.to_tensor([2, 0, 1]),
        roi_features=rows,
        roi_logits=rows,
        roi_deltas=rows,
        rpn_logits=[level, level + 2],
        rpn_deltas=[level, level + 3],
    )
    assert record.valid().tolist() == [[True, True], [False, False], [True, False]]
    cut = record.images(paddle.to_tensor([2, 0])).levels([1])
    assert cut.roi_logits.flatten().tolist() == [4, 5, 0, 1]
    assert cut.proposal_num.tolist() == [1, 2]
    assert [tensor.flatten().tolist() for tensor in cut.rpn_deltas] == [[5, 3]]
    assert len(cut.tensors("rpn_logits")) == len(cut.tensors("roi_features")) == 1

"""Records name their entries and can be cut to some of their images."""

from __future__ import annotations

import paddle
import pytest

from ppkd.structures import DetectorSpec, LevelSpec, YOLORecord
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


def test_a_spec_names_both_sides_of_a_mismatch():
    spec = DetectorSpec("Toy", 3, "sigmoid", {"neck": (LevelSpec(8, 16),)})
    spec.offers(["neck"], "PKD")
    with pytest.raises(SpecError, match=r"LD consumes \['box_dist'\].*Toy records \['neck'\]"):
        spec.offers(["box_dist"], "LD")

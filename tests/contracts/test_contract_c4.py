"""Every loss with Faster R-CNN without a pyramid, whose only level has stride 16: it works, or says why it does not."""

from __future__ import annotations

from functools import cache

import numpy as np
import paddle
import pytest
from pairs import CONFIGS, LOSSES, batch, detector, loss_between

from ppkd.config import load_config
from ppkd.distill import DistillLoss, DistillModel, FrozenTeacher
from ppkd.distill.methods import CLASSES
from ppkd.models import build_detector
from ppkd.models.detectors.detector import Detector
from ppkd.utils.errors import SpecError

SMALL = [
    f"num_classes={CLASSES}",
    "ResNet.depth=18",
    "Res5Head.depth=18",
    "BBoxHead.roi_extractor.resolution=4",
    "BBoxAssigner.batch_size_per_im=16",
    "RPNHead.train_proposal.post_nms_top_n=24",
    "RPNHead.test_proposal.post_nms_top_n=16",
]
OF_ONE_STAGE = {
    *("BCKD", "ClassKD", "CrossKD", "DistillPPYOLOELoss", "LD", "PFI", "RankMimicking", "ScoreWeighted"),
    "YOLOv3FineGrained",
}
OF_QUERIES = {"DETRDistill", "DETRDistillFeatures", "KDDETR"}
OF_MASKS = {"MaskKD"}
OTHER_MAPS = {"OutputL2", "PKD"}
"""Losses that need equal anchors, or equal channels."""


@cache
def drawn(seed: int) -> Detector:
    paddle.seed(seed)
    return build_detector(load_config(CONFIGS / "faster_rcnn" / "faster_rcnn_r50_1x_coco.yml", SMALL))


def fitting(student: Detector, teacher: Detector) -> dict[str, DistillLoss]:
    """The losses by name that are not refused."""
    found = {}
    for name in LOSSES:
        try:
            found[name] = loss_between(name, student.spec(), teacher.spec())
        except SpecError as error:
            assert name in str(error)
    return found


def test_losses_of_one_stage_and_of_queries_are_refused():
    assert set(LOSSES) - set(fitting(drawn(0), drawn(1))) == OF_ONE_STAGE | OF_QUERIES | OF_MASKS


@pytest.mark.slow
def test_a_c4_learns_from_a_pyramid():
    student, teacher = drawn(0), detector("FasterRCNN", 1)
    losses = fitting(student, teacher)
    assert set(LOSSES) - set(losses) == {*OF_ONE_STAGE, *OF_QUERIES, *OF_MASKS, *OTHER_MAPS}
    for name, loss in losses.items():
        student.clear_gradients()
        value = DistillModel(student, FrozenTeacher.of_losses(teacher, [loss]), {"kd": loss})(batch((3, 1)))["kd"]
        value.backward()
        reached = [paddle.abs(p.grad).sum().item() for p in student.parameters() if p.grad is not None]
        assert np.isfinite(value.item()), name
        assert (max(reached) > 0) == (value.item() != 0), name

"""Localisation distillation and its companions against the authors' code: values, gradients and regions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, golden_names, leaf, listed
from sides import side

from ppkd.distill import Progress
from ppkd.distill.general_instances import general_instances
from ppkd.distill.losses import LD, ClassKD, FeatureImitation, RegionFinder
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.heads.dgqp import DGQP
from ppkd.models.heads.fcos_feat import FCOSFeat
from ppkd.models.heads.gfl_head import GFLHead
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.quality_focal_loss import QualityFocalLoss
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth

HEADS = golden_names("ldhead_") + golden_names("ldv2head_")
TENSORS = {"loss_ld": "bbox_pred", "loss_ld_vlr": "bbox_pred", "loss_kd": "cls", "loss_kd_neg": "cls", "loss_im": "x"}


class Case:
    """A golden case as specs, records whose tensors are leaves, and boxes; GFLV2's student records its quality."""

    def __init__(self, name):
        self.meta, self.arrays = golden(name)
        self.strides = self.meta["hyper"]["strides"]
        self.second = "in.quality.0" in self.arrays
        self.logits = "cls_logits" if self.second else "cls_score"
        boxes = listed(self.arrays, "in.gt_bbox")
        self.batch = {"gt_bbox": boxes, "gt_class": [paddle.zeros([len(one)], dtype="int64") for one in boxes]}
        self.truth = Truth.of(self.batch)
        channels = {"neck": "x.0", "cls_logits": f"{self.logits}.0", "box_dist": "bbox_pred.0"}
        sizes = {entry: self.arrays[f"in.{key}"].shape[1] for entry, key in channels.items()}
        levels = {entry: tuple(LevelSpec(size, s) for s in self.strides) for entry, size in sizes.items()}
        entries = {
            "neck": Entry("feature", "grid", levels["neck"]),
            "cls_logits": Entry("class", "grid", levels["cls_logits"], activation="sigmoid"),
            "box_dist": Entry("box", "grid", levels["box_dist"], coding="distribution"),
        }
        self.spec = DetectorSpec("GFL", sizes["cls_logits"], entries, frozenset({"assign"}))
        rated = Entry("quality", "grid", tuple(LevelSpec(1, s) for s in self.strides))
        self.second_spec = replace(self.spec, entries={**entries, "quality": rated})

    @property
    def sizes(self):
        return [self.arrays[f"in.x.{i}"].shape[2:] for i in range(len(self.strides))]

    def leaves(self, name):
        return [leaf(self.arrays[f"in.{name}.{i}"]) for i in range(len(self.strides))]

    def record(self, prefix=""):
        neck, logits, boxes = (self.leaves(prefix + name) for name in ("x", self.logits, "bbox_pred"))
        levels = [[x.unsqueeze(1) for x in entry] for entry in (logits, boxes)]
        tensors = {"neck": neck, "cls_logits": levels[0], "box_dist": levels[1]}
        if self.second and not prefix:
            rated = [x.unsqueeze(1) for x in self.leaves("quality")]
            record = Record(self.second_spec, {**tensors, "quality": rated})
        else:
            record = Record(self.spec, tensors)
        return {"x": neck, "cls": logits, "bbox_pred": boxes}, record

    def gradient(self, key, kind, level):
        """The gradient of a term; what is given for GFLV2's joint score goes on through the sigmoid and the quality."""
        if kind != "cls":
            return self.arrays[f"grad.{key}.{kind}.{level}"]
        given = self.arrays[f"grad.{key}.cls_score.{level}"]
        if not self.second:
            return given
        probability = 1 / (1 + np.exp(-self.arrays[f"in.cls_logits.{level}"]))
        return given * probability * (1 - probability) * self.arrays[f"in.quality.{level}"]

    def loss(self, term):
        if term == "loss_im":
            return FeatureImitation(self.spec, self.spec, region=self.meta["hyper"]["imitation_method"], weight=2.0)
        if term in ("loss_ld", "loss_ld_vlr"):
            return LD(self.spec, self.spec, region="main" if term == "loss_ld" else "valuable")
        weight = 10.0 if term == "loss_kd" else 0.0
        return ClassKD(self.spec, self.spec, region="main" if term == "loss_kd" else "valuable", weight=weight)


def test_no_case_is_missing():
    assert len(HEADS) == 4


@pytest.mark.parametrize("term", TENSORS)
@pytest.mark.parametrize("name", HEADS)
def test_losses_and_gradients(name, term):
    case = Case(name)
    leaves, student = case.record()
    soft_leaves, teacher = case.record("t_")
    loss = case.loss(term)
    value = loss.weight * loss(side(student), side(teacher), case.truth, Progress())
    assert_close(value, case.arrays[f"out.{term}_total"], rtol=1e-5)
    value.backward()
    kind = TENSORS[term]
    key = f"grad.{term}.{case.logits if kind == 'cls' else kind}"
    for i, tensor in enumerate(leaves[kind]):
        expected = case.arrays.get(f"{key}.{i}", 0.0 * tensor.numpy())
        assert_close(tensor.grad, expected, rtol=1e-4, atol=1e-7, message=f"level {i}")
    assert all(tensor.grad is None for kind in soft_leaves.values() for tensor in kind)


@pytest.mark.parametrize("name", golden_names("ldhead_"))
def test_regions_of_images(name):
    case = Case(name)
    regions = RegionFinder()(case.sizes, case.strides, side(case.record()[1]), case.truth)
    inside = regions.fine_grained() if "finegrained" in name else regions.inside()
    for i, (main, value, chosen) in enumerate(zip(regions.main(), regions.valuable(), inside, strict=True)):
        labels = case.arrays[f"out.labels.{i}"]
        assert_close(main, labels < case.spec.num_classes, rtol=0)
        assert_close(value, case.arrays[f"out.vlr_region.{i}"], rtol=1e-5, atol=1e-6)
        assert_close(chosen, case.arrays[f"out.im_region.{i}"], rtol=0)


@pytest.mark.parametrize("name", golden_names("assign_"))
def test_regions(name):
    meta, arrays = golden(name)
    boxes = paddle.to_tensor(arrays["in.gt_bbox"])
    truth = Truth.of({"gt_bbox": [boxes], "gt_class": [paddle.zeros([len(boxes)], dtype="int64")]})
    nothing = side(Record(DetectorSpec("GFL", 1, {}), {}))
    strides = meta["hyper"]["strides"]
    sizes = [(-(-meta["hyper"]["H"] // stride), -(-meta["hyper"]["W"] // stride)) for stride in strides]
    regions = RegionFinder()(sizes, strides, nothing, truth)
    assert_close(paddle.concat(regions.main(), axis=1), arrays["out.assigned_gt_inds"] > 0, rtol=0)
    assert_close(paddle.concat(regions.fine_grained(), axis=1), arrays["out.im_finegrained"], rtol=0)
    assert_close(paddle.concat(regions.inside(), axis=1), arrays["out.im_in_gt"], rtol=0)
    for overlap, key in (("iof", "out.vlr_region"), ("iou", "out.vlr_region_true_diou")):
        value = RegionFinder(overlap=overlap)(sizes, strides, nothing, truth).valuable()
        assert_close(paddle.concat(value, axis=1), arrays[key], rtol=1e-5, atol=1e-6)


def test_general_instances():
    case = Case("ldhead_p5_gibox")
    (_, student), (_, teacher) = case.record(), case.record("t_")
    for i in range(len(case.strides)):
        chosen = general_instances(
            (student.cls_logits[i], student.box_dist[i]), (teacher.cls_logits[i], teacher.box_dist[i])
        )
        assert_close(chosen.flatten().nonzero(), sorted(case.arrays[f"out.gi_index.{i}"]), rtol=0)


def head(case, **settings):
    """GFL's head over the case's levels, assigning as the authors do."""
    specs = case.spec.entries["neck"].levels
    return GFLHead(
        in_specs=specs,
        conv_feat=FCOSFeat(feat_in=specs[0].channels, feat_out=specs[0].channels, num_convs=0),
        loss_qfl=QualityFocalLoss(use_sigmoid=not case.second),
        loss_dfl=DistributionFocalLoss(loss_weight=0.25),
        loss_bbox=GIoULoss(loss_weight=2.0),
        nms=MultiClassNMS(),
        dgqp_module=DGQP() if case.second else None,
        bbox_assigner=ATSSAssigner(deviation="sample"),
        num_classes=case.spec.num_classes,
        fpn_stride=case.strides,
        **settings,
    )


@pytest.mark.parametrize("name", HEADS)
def test_the_students_own_losses_with_the_same_regions(name):
    case = Case(name)
    leaves, student = case.record()
    built = head(case)
    labels = listed(case.arrays, "in.gt_label")
    terms = built.loss(student, built.assign(student, Truth.of({**case.batch, "gt_class": labels})))
    for term, key, kind in (
        ("loss_qfl", "loss_cls", "cls"),
        ("loss_bbox", "loss_bbox", "bbox_pred"),
        ("loss_dfl", "loss_dfl", "bbox_pred"),
    ):
        assert_close(terms[term], case.arrays[f"out.{key}_total"], rtol=1e-5)
        found = paddle.grad(terms[term], leaves[kind], retain_graph=True)
        for i, gradient in enumerate(found):
            expected = case.gradient(key, kind, i)
            assert_close(gradient, expected, rtol=1e-4, atol=2e-7, message=f"{key} level {i}")


def test_the_students_own_assignment_decides():
    case = Case("ldhead_p3_finegrained")
    _, student = case.record()
    targets = head(case, grid_cell_scale=4.0).assign(student, case.truth)
    told, untold = side(student, targets=targets), side(student)
    own = RegionFinder()(case.sizes, case.strides, told, case.truth)
    same = RegionFinder(anchor_scale=4.0)(case.sizes, case.strides, untold, case.truth)
    other = RegionFinder(student_targets=False)(case.sizes, case.strides, told, case.truth)
    assert_close(paddle.concat(own.main(), axis=1), targets.positive, rtol=0)
    for name in ("main", "valuable", "fine_grained", "inside"):
        found, expected, differing = (paddle.concat(getattr(one, name)(), axis=1) for one in (own, same, other))
        assert_close(found, expected, rtol=1e-6)
        assert (found != differing).any().item() == (name != "inside")

"""Robust distilling against the authors' code: weights, painted cells, every term and its gradient."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import paddle
import pytest
from loss_cases import GOLDEN, assert_close, golden_names, leaf
from paddle import nn
from sides import side

from ppkd.distill import Progress
from ppkd.distill.cells.levels import box_levels, cell_spans
from ppkd.distill.losses.global_knowledge import GlobalKnowledge
from ppkd.distill.losses.global_knowledge.point import paint
from ppkd.distill.losses.global_knowledge.prototypes.settings import PrototypeSettings
from ppkd.models.assigners.anchor_targets import AnchorTargets
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth

CASES = golden_names("gkrdm_")
HYPER = json.loads((GOLDEN / "global_knowledge.json").read_text())
RELATION = {"use_pgm": "none", "use_r2i": "prototypes", "use_rkd": "rkd"}


class Fixed(nn.Layer):
    """An adapter that knows its result."""

    def __init__(self, result):
        super().__init__()
        self.result = result

    def forward(self, feature):
        return self.result


class Case:
    """A case as a loss with the authors' prototypes and adapted maps, records, and boxes padded to one block."""

    def __init__(self, name):
        self.hyper = HYPER[name]
        with np.load(GOLDEN / f"{name}.npz") as found:
            self.arrays = {k: v.astype("float32") if v.dtype == np.float16 else v for k, v in found.items()}
        self.two_stage = self.hyper["strategy"].startswith("Two")
        self.strides = self.hyper["strides"]
        classes, channels = self.hyper["num_classes"], self.hyper["channels"]
        entries = {"neck": Entry("feature", "grid", tuple(LevelSpec(channels, stride) for stride in self.strides))}
        if self.two_stage:
            entries |= {
                "proposals": Entry.rows("box", 4, coding="corners"),
                "roi_features": Entry.rows("feature", channels),
                "roi_logits": Entry.rows("class", classes + 1, activation="softmax"),
            }
        else:
            levels = tuple(LevelSpec(classes, stride) for stride in self.strides)
            entries["cls_logits"] = Entry("class", "grid", levels, activation="sigmoid")
        self.spec = spec = DetectorSpec("Case", classes, entries, frozenset({"features", "assign", "at"}))
        factor, fades = self.hyper["pair_wise_factor"], self.hyper["kd_attenuation"]
        self.loss = GlobalKnowledge(
            spec,
            spec,
            relation=RELATION[self.hyper["pair_wise"]],
            relation_weight=factor,
            robust=self.hyper["pair_wise"] != "use_rkd",
            T=self.hyper["kd_t"],
            second_level_side=56.0,
            fade_epochs=self.hyper["max_epochs"] if fades else None,
            prototypes=PrototypeSettings(count=8),
        )
        self.adapted = self.levels("st_adp")
        self.loss.adapters = nn.LayerList([Fixed(one) for one in self.adapted])
        self.fill()
        self.ours, self.theirs = self.levels("st_neck"), self.levels("tc_neck")
        self.boxes = Truth(
            self.padded([self.arrays[f"in.bbox.{i}"] for i in range(2)]),
            self.padded([self.arrays[f"in.label.{i}"] for i in range(2)]),
            self.padded([np.ones(count, "float32") for count in self.hyper["counts"]]),
        )

    def levels(self, name):
        return [leaf(self.arrays[f"in.{name}.{i}"]) for i in range(len(self.strides))]

    def fill(self):
        for level in range(len(self.strides)):
            starts = self.arrays[f"in.cls_start_index.{level}"].astype(int)
            for label, (first, last) in enumerate(pairwise(starts)):
                rows = [paddle.to_tensor(self.arrays[f"in.proto_{side}.{level}"][first:last]) for side in "st"]
                self.loss.bank.fill(level, label, *rows)

    def padded(self, rows):
        most = max(len(row) for row in rows)
        empty = np.zeros((len(rows), most, *rows[0].shape[1:]), rows[0].dtype)
        for block, row in zip(empty, rows, strict=True):
            block[: len(row)] = row
        return paddle.to_tensor(empty)

    def split(self, name):
        """Rows of all images, padded per image."""
        ends = np.cumsum(self.hyper["counts"])
        return self.padded(
            [self.arrays[name][end - n : end] for n, end in zip(self.hyper["counts"], ends, strict=True)]
        )

    def neck(self, which):
        """The student's side or the teacher's, with nothing but a neck."""
        levels = self.ours if which == "s" else self.theirs
        return side(Record(self.spec.only(["neck"]), {"neck": levels}))

    def roi_side(self, which, targets=None):
        rows = {
            "proposals": self.boxes.boxes,
            "roi_features": self.split(f"in.roi_feat_{which}"),
            "roi_logits": leaf(self.split(f"in.cls_score_{which}").numpy()),
        }
        neck = self.ours if which == "s" else self.theirs
        tensors = {"neck": neck, **{name: [tensor] for name, tensor in rows.items()}}
        return side(Record(self.spec, tensors, self.boxes.real), targets=targets)

    def labels(self):
        background = paddle.full_like(self.boxes.labels, self.hyper["num_classes"])
        return paddle.where(self.boxes.real, self.boxes.labels, background)

    def weights(self):
        features = self.features()
        return [self.loss.bank.weights(i, *both, self.boxes.labels) for i, both in enumerate(features)]

    def features(self):
        return self.loss.pool(self.neck("s"), self.neck("t"), self.boxes)

    def terms(self):
        """The imitation in boxes and around them, in the authors' scale."""
        inside, outside = self.loss.imitate(self.neck("s"), self.neck("t"), self.boxes, self.weights())
        factor = self.loss.share * self.loss.fade(self.hyper["epoch"])
        return factor * inside, 4.0 * factor * outside


def assert_gradient(case, term, name, tensors):
    gradients = paddle.grad(term, tensors, retain_graph=True, allow_unused=True)
    for i, gradient in enumerate(gradients):
        expected = case.arrays[f"grad.{name}.{i}"]
        found = np.zeros(tensors[i].shape, "float32") if gradient is None else gradient.numpy()
        found = found.sum(axis=(2, 3)) if expected.ndim == 2 else found
        assert_close(found, expected, rtol=1e-4, atol=2e-6, message=f"{name} level {i}")


def test_no_case_is_missing():
    assert len(CASES) == 5


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("rkd")])
def test_weights_of_boxes(name):
    case = Case(name)
    real = case.boxes.real.numpy()
    for level, weights in enumerate(case.weights()):
        expected = case.arrays[f"out.robust_weight.{level}"][: real.sum()]
        assert_close(weights.numpy()[real], expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_painted_cells(name):
    case = Case(name)
    level = box_levels(case.boxes.boxes, len(case.strides))
    for i, (weights, stride) in enumerate(zip(case.weights(), case.strides, strict=True)):
        size = case.ours[i].shape[2:]
        spans = cell_spans(case.boxes.boxes, stride, *size)
        weights = weights if case.loss.robust else paddle.ones_like(weights)
        found = paint(weights, spans, case.boxes.real & (level == i), *size)
        assert_close(found, case.arrays[f"out.mask.{i}"], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", CASES)
def test_imitation(name):
    case = Case(name)
    for term, key in zip(case.terms(), ("loss_kd_point", "loss_bg_point"), strict=True):
        assert_close(term, case.arrays[f"out.{key}"], rtol=1e-5)
        assert_gradient(case, term, f"{key}.st_adp", case.adapted)


@pytest.mark.parametrize("name", [name for name in CASES if "_two_" in name])
def test_soft_labels_of_proposals(name):
    case = Case(name)
    ours, theirs = case.roi_side("s", SimpleNamespace(roi_labels=case.labels())), case.roi_side("t")
    value = case.loss.soft_labels(ours, theirs, case.boxes, [])
    assert_close(value, case.arrays["out.loss_kd_soft"], rtol=1e-5)
    (gradient,) = paddle.grad(value, [ours.record.roi_logits])
    expected = case.arrays["grad.loss_kd_soft.cls_score_s"]
    assert_close(gradient.numpy()[case.boxes.real.numpy()], expected, rtol=1e-4, atol=1e-7)


def test_soft_labels_of_anchors():
    """One anchor at each of the seven boxes, on one level."""
    case = Case("gkrdm_one_pgm")
    logits = [leaf(case.split(f"in.cls_score_{side}").transpose([0, 2, 1]).numpy()) for side in "st"]
    maps = [one.unsqueeze(1).unsqueeze(3) for one in logits]
    case.loss.pairs["cls_logits"] = case.loss.pairs["cls_logits"][:1]
    entry = case.spec.entries["cls_logits"]
    spec = DetectorSpec("Case", case.spec.num_classes, {"cls_logits": replace(entry, levels=entry.levels[:1])})
    index = paddle.arange(case.boxes.real.shape[1]).expand(case.boxes.real.shape)
    positive = case.boxes.real.astype("float32")
    targets = AnchorTargets(labels=case.labels(), positive=positive, deltas=paddle.zeros([2, 1, 4]), box=index)
    sides = [side(Record(spec, {"cls_logits": [one]}), targets=targets) for one in maps]
    value = case.loss.soft_labels(*sides, case.boxes, case.weights())
    assert_close(value, case.arrays["out.loss_kd_soft"], rtol=1e-5)
    (gradient,) = paddle.grad(value, [logits[0]])
    found = gradient.transpose([0, 2, 1]).numpy()[case.boxes.real.numpy()]
    assert_close(found, case.arrays["grad.loss_kd_soft.cls_score_s"], rtol=1e-4, atol=1e-7)


def relation(case):
    weights = [one.detach() for one in case.weights()]
    value = case.loss.relate(case.features(), weights, case.boxes)
    return case.loss.relation_weight * case.loss.fade(case.hyper["epoch"]) * value


def test_relation_to_prototypes():
    case = Case("gkrdm_two_r2i")
    value = relation(case)
    assert_close(value, case.arrays["out.loss_kd_pair"], rtol=1e-5)
    assert_gradient(case, value, "loss_kd_pair.st_neck", case.ours)


def test_relation_among_boxes(monkeypatch):
    case = Case("gkrdm_two_rkd")
    for key, other in (("angle", "distance_relation"), ("dis", "angle_relation")):
        with monkeypatch.context() as patch:
            patch.setattr(f"ppkd.distill.losses.global_knowledge.relation.{other}", lambda *_: paddle.zeros([]))
            value = relation(case)
        assert_close(value, case.arrays[f"out.loss_kd_rkd_{key}"], rtol=1e-4)
        assert_gradient(case, value, f"loss_kd_rkd_{key}.st_neck", case.ours)


@pytest.mark.parametrize("name", [name for name in CASES if "_two_" in name])
def test_the_whole_loss_is_the_sum_of_its_terms(name):
    case = Case(name)
    student = case.roi_side("s", SimpleNamespace(roi_labels=case.labels()))
    value = case.loss(student, case.roi_side("t"), case.boxes, Progress(case.hyper["epoch"]))
    keys = [key for key in case.arrays if key.startswith("out.loss_") and not key.endswith("_levels")]
    assert_close(value, sum(case.arrays[key] for key in keys), rtol=1e-5)


def test_the_first_assigned_proposals_of_an_image_are_looked_at():
    case = Case("gkrdm_two_pgm")
    case.loss.max_boxes = 2
    labels = paddle.to_tensor([[5, 1, -1, 2, 0], [3, 5, 5, 5, 4]])
    found = case.loss.find_boxes(case.roi_side("s", SimpleNamespace(roi_labels=labels)), case.boxes)
    assert found.labels.tolist() == [[1, 2], [3, 4]] and found.real.all().item()
    np.testing.assert_array_equal(found.boxes[0].numpy(), case.boxes.boxes[0].numpy()[[1, 3]])
    labels = paddle.to_tensor([[5, 5, -1, 2, 5], [5, 5, 5, 5, -1]])
    found = case.loss.find_boxes(case.roi_side("s", SimpleNamespace(roi_labels=labels)), case.boxes)
    assert found.real.tolist() == [[True, False], [False, False]]

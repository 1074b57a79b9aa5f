"""The score-weighted difference of necks against its formula written with numpy, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import pytest
from sides import side
from toy import ToyDetector, toy_batch

from ppkd.distill import Progress
from ppkd.distill.losses import ScoreWeighted
from ppkd.models.losses.normaliser import NormaliserBook
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError, SpecError


def detectors():
    paddle.seed(3)
    return ToyDetector(channels=4), ToyDetector(channels=5)


def given(student, teacher, images=2, seed=0):
    batch = toy_batch(images, seed=seed)
    return side(student.extract(batch), student), side(teacher.extract(batch), teacher), Truth.of(batch), Progress()


def adapted(conv, level):
    """A 1x1 convolution of a map [N, C, H, W]."""
    weight = conv.weight.numpy().astype("float64")[:, :, 0, 0]
    return np.einsum("oc,nchw->nohw", weight, level) + conv.bias.numpy().reshape([1, -1, 1, 1])


def sigmoid(values):
    return 1 / (1 + np.exp(-values.numpy().astype("float64")))


def plain(loss, own, other):
    """The formula of every level, with the convolutions that the loss has."""
    values = []
    for i, layers in enumerate(loss.wiring.projectors["neck"]):
        hidden = np.maximum(adapted(layers[0], own["neck"][i].numpy().astype("float64")), 0)
        gap = adapted(layers[2], hidden) - other["neck"][i].numpy()
        score = (sigmoid(other["cls_logits"][i]).max(axis=2) * sigmoid(other["objectness"][i])[:, :, 0]).max(axis=1)
        values.append((score[:, None] * gap**2).sum() / (gap.shape[1] * score.sum()))
    return values


def test_it_is_the_formula() -> None:
    student, teacher = detectors()
    loss = ScoreWeighted(student.spec(), teacher.spec())
    for layers in loss.wiring.projectors["neck"]:
        assert [tuple(layers[i].weight.shape[:2]) for i in (0, 2)] == [(5, 4), (5, 5)]
        layers[0].bias.set_value(paddle.randn([5]))
    own, other, *rest = given(student, teacher)
    assert loss(own, other, *rest).item() == pytest.approx(sum(plain(loss, own.record, other.record)), rel=1e-5)
    assert loss.weight == 6


def test_levels_may_weigh_and_equal_channels_are_adapted_too() -> None:
    paddle.seed(3)
    student, teacher = ToyDetector(), ToyDetector()
    loss = ScoreWeighted(student.spec(), teacher.spec(), levels="objects")
    loss.wiring.set_levels({4: 3.0, 8: 1.0})
    own, other, *rest = given(student, teacher)
    fine, coarse = plain(loss, own.record, other.record)
    assert loss(own, other, *rest).item() == pytest.approx(1.5 * fine + 0.5 * coarse, rel=1e-5)


def test_in_parts_it_is_that_of_the_whole_batch() -> None:
    student, teacher = detectors()
    student.eval(), teacher.eval()
    loss = ScoreWeighted(student.spec(), teacher.spec())
    whole = loss(*given(student, teacher, images=4))
    batch = toy_batch(4, seed=0)
    book, parts = (
        NormaliserBook(2),
        [{key: value[at] for key, value in batch.items()} for at in (slice(0, 1), slice(1, 4))],
    )

    def value(part):
        sides = (side(one.extract(part), one) for one in (student, teacher))
        return loss(*sides, Truth.of(part), Progress())

    for part in parts:
        with book.counting():
            value(part)
    book.close()
    found = []
    for part in parts:
        with book.given():
            found.append(value(part).item())
    assert sum(found) / 2 == pytest.approx(whole.item(), rel=1e-5)


def test_without_an_adapter_or_scores_cell_by_cell_it_is_refused() -> None:
    student, teacher = (detector.spec() for detector in detectors())
    with pytest.raises(ConfigError, match="ScoreWeighted always adapts"):
        ScoreWeighted(student, teacher, project="needed")
    with pytest.raises(SpecError, match=r"ScoreWeighted reads an entry of the role class on a grid, but Toy records"):
        ScoreWeighted(student, teacher.only(["neck", "box_xywh"]))
    classes = teacher.entries["cls_logits"]
    apart = replace(classes, levels=tuple(replace(level, stride=2 * level.stride + 1) for level in classes.levels))
    with pytest.raises(SpecError, match=r"pair at strides \[4, 8\], but the classes of Toy are at \[9, 17\]"):
        ScoreWeighted(student, replace(teacher, entries={**teacher.entries, "cls_logits": apart}))

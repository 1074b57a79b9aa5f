"""Published settings that are slim files of losses which other tests know: what they make, and their numbers."""

from __future__ import annotations

import math

import numpy as np
import paddle
import pytest
from query_records import spec as query_spec
from sides import side
from toy import ToyDetector, toy_batch

from ppkd.config import load_config
from ppkd.distill import Progress
from ppkd.distill.build import build_losses
from ppkd.models import build_detector
from ppkd.structures.truth import Truth

LOSSES = "slim/distill/{}.yml"


def normalised(level, eps):
    """A map [N, C, H, W] behind a batch normalisation without weights, in training."""
    mean, variance = level.mean(axis=(0, 2, 3), keepdims=True), level.var(axis=(0, 2, 3), keepdims=True)
    return (level - mean) / np.sqrt(variance + eps)


def log_softmax(level):
    rows = level.reshape(level.shape[0] * level.shape[1], -1)
    rows = rows - rows.max(axis=1, keepdims=True)
    return rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))


def divergence(student, teacher):
    """KL(teacher || student) of every channel over cells, summed, over images and channels."""
    own, other = log_softmax(student), log_softmax(teacher)
    return (np.exp(other) * (other - own)).sum() / (teacher.shape[0] * teacher.shape[1])


@pytest.mark.parametrize("channels", [4, 6])
def test_cwd_of_damo_yolo_is_its_formula_up_to_the_unit(root, channels):
    paddle.seed(1)
    student, teacher = ToyDetector(), ToyDetector(channels=channels)
    loss = build_losses(load_config(root / LOSSES.format("cwd_damo_yolo")), student.spec(), teacher.spec())["cwd"]
    batch = toy_batch(4)
    own, other = side(student.extract(batch), student), side(teacher.extract(batch), teacher)
    published = here = 0.0
    for i, layers in enumerate(loss.wiring.projectors["neck"]):
        (conv,) = layers
        conv.bias.set_value(paddle.randn(conv.bias.shape))
        weight = conv.weight.numpy().astype("float64")[:, :, 0, 0]
        adapted = np.einsum("oc,nchw->nohw", weight, own.record["neck"][i].numpy()) + conv.bias.numpy()[:, None, None]
        wanted = other.record["neck"][i].numpy().astype("float64")
        maps = [normalised(level, 1e-5) for level in (adapted, wanted)]
        published += divergence(*maps)
        cells = wanted[:, 0].size
        here += divergence(*(normalised(level, 0) * math.sqrt((cells - 1) / cells) for level in (adapted, wanted)))
    value = loss(own, other, Truth.of(batch), Progress()).item()
    assert value == pytest.approx(here, rel=1e-5)
    assert value == pytest.approx(published, rel=3 / cells)
    assert value != pytest.approx(published, rel=1e-5)


def test_the_weight_of_damo_yolo_falls_from_1_to_a_tenth(root):
    spec = ToyDetector().spec()
    loss = build_losses(load_config(root / LOSSES.format("cwd_damo_yolo")), spec, spec)["cwd"]
    for share in (0.0, 0.3, 0.999):
        assert loss.weight_at(80 * share) == pytest.approx(1 - 0.9 * (1 - math.cos(math.pi * share)) / 2)


def test_the_settings_for_queries_are_the_papers(root):
    spec = query_spec(layers=6)
    (asked,) = build_losses(load_config(root / LOSSES.format("kd_detr")), query_spec(layers=3), spec).values()
    assert (asked.points, asked.general, asked.stages) == (("general", "specific"), 300, [(i, 5) for i in range(3)])
    formula = asked.formula
    assert (formula.cls_weight, formula.bbox_weight, formula.giou_weight, formula.divergence.T) == (1, 5, 2, 10)
    losses = build_losses(load_config(root / LOSSES.format("detrdistill")), spec, spec)
    formula = losses["answers"].formula
    assert (formula.cls_weight, formula.bbox_weight, formula.giou_weight) == (1, 5, 2)
    assert (losses["features"].weight, losses["features"].number) == (20, 100)


@pytest.mark.slow
def test_crosskd_and_pkd_are_those_alone_with_the_published_weights(root):
    both, alone = (load_config(root / LOSSES.format(name)) for name in ("crosskd_pkd", "crosskd"))
    assert (both.at("teacher"), both.at("losses.crosskd")) == (alone.at("teacher"), alone.at("losses.crosskd"))
    spec = build_detector(load_config(root / "configs/shapes/gfl_r18_160_shapes.yml")).spec()
    losses = build_losses(both, spec, spec)
    assert (losses["pkd"].weight, losses["pkd"].level_strides) == (6, [8, 16, 32, 64, 128])
    assert (losses["crosskd"].cls_weight, losses["crosskd"].box_weight) == (1, 4)

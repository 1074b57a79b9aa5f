"""What losses do to the student on a batch, and the remedies that are named."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from test_balance import measured
from test_distill_model import Adapted
from test_wiring import Louder, batch_of
from toy import ToyDetector

from ppkd.distill import DistillModel, FrozenTeacher, Progress
from ppkd.distill.balance import Share
from ppkd.distill.effects import Attention, Effect, effects, remedies
from ppkd.distill.losses import FBKD, FGD, Mimic, OutputL2
from ppkd.distill.preflight import first_losses
from ppkd.distill.preflight_report import term_table


def distiller(loss=FGD, factors=(1.0, 1.0), **settings):
    paddle.seed(0)
    student, teacher = ToyDetector(channels=16), Louder(channels=16)
    teacher.factors = factors
    made = loss(student.spec(), teacher.spec(), **settings)
    return DistillModel(student, FrozenTeacher.of_losses(teacher, [made]), {"kd": made})


def effect_of(model):
    return effects(model, model.compare(batch_of(), dict(model.losses.items())), Progress())["kd"]


def test_gradient_and_cosine_are_those_of_backward_passes():
    model = distiller(Adapted, weight=3.0)
    model.eval()
    task, kd = measured(model, batch_of())
    effect = effect_of(model)
    assert effect.gradient == pytest.approx(np.linalg.norm(kd) / np.linalg.norm(task), rel=1e-5)
    assert effect.cosine == pytest.approx(task @ kd / np.linalg.norm(kd) / np.linalg.norm(task), abs=1e-5)
    assert not effect.levels and not effect.attentions


def test_the_level_that_dominates_is_named():
    quiet, loud = (effect_of(distiller(Mimic, factors, normalize=False)) for factors in ((1.0, 1.0), (1.0, 100.0)))
    assert set(quiet.levels) == {4, 8} and sum(quiet.levels.values()) == pytest.approx(1.0)
    assert quiet.levels[8] < 0.9 and loud.levels[8] > 0.99


def test_a_loud_teachers_attentions_are_one_hot_until_it_is_scaled():
    quiet, loud = (effect_of(distiller(FGD, (1.0, factor))) for factor in (1.0, 100.0))
    largest = {one.kind: one for one in loud.attentions if one.stride == 8}
    assert largest["channel"].count == 16 and largest["channel"].largest > 15.5 and largest["channel"].one_hot
    assert not largest["spatial"].one_hot, "of four places"
    assert not [one for one in quiet.attentions if one.kind == "channel" and one.one_hot]
    assert {one.kind for one in effect_of(distiller(FBKD)).attentions} == {"spatial"}


def test_remedies_are_named_where_something_is_off():
    loss = distiller().losses["kd"]
    effect = Effect(
        9229.0, 0.06, {4: 0.06, 8: 0.94}, (Attention("channel", 8, 64.0, 64), Attention("channel", 4, 2.0, 64))
    )
    assert remedies("fgd", loss, effect, {4: 706.0, 8: 0.0}) == [
        "its gradient is 9.23e+03 times the task's: set losses.fgd.scale: rms or losses.fgd.weight: {share: 0.5}",
        "94 % of it comes from stride 8, which no object of the training set reaches: set losses.fgd.levels: objects",
        "its channel attention is nearly one-hot on stride 8 (64 of 64): set losses.fgd.scale: rms",
    ]
    assert not remedies("fgd", loss, Effect(956.0, 0.1, {4: 0.06, 8: 0.94}), {4: 706.0, 8: 3.0})


def test_what_is_set_already_is_not_advised():
    effect = Effect(5000.0, 0.1, {4: 0.1, 8: 0.9}, (Attention("channel", 8, 64.0, 64),))
    loss = distiller(scale="rms", levels="objects", weight=Share(0.5)).losses["kd"]
    assert remedies("fgd", loss, effect, {4: 1.0}) == [
        "its gradient is 5e+03 times the task's: set another losses.fgd.weight",
        "its channel attention is nearly one-hot on stride 8 (64 of 64): set a higher losses.fgd.temp",
    ]
    faint = remedies("l2", distiller(OutputL2).losses["kd"], Effect(1e-5, 0.0), {})
    assert faint == ["its gradient is 1e-05 times the task's: set losses.l2.weight: {share: 0.5}"]


def test_more_images_are_read_only_where_a_level_seems_empty():
    read = []

    def updates():
        for seed in range(3):
            read.append(seed)
            yield [batch_of(seed)]

    first_losses(distiller(OutputL2), batch_of(), 0, prepared=True, updates=updates())
    assert read == []
    model = distiller(Mimic, (1.0, 100.0), normalize=False)
    nothing = {"gt_bbox": [paddle.zeros([0, 4])] * 2, "gt_class": [paddle.zeros([0], "int64")] * 2}
    seen = first_losses(model, {**batch_of(), **nothing}, 0, prepared=True, updates=updates())
    assert read and seen.effects["kd"].levels[8] > 0.99
    assert all(p.grad is None for p in model.parameters())


def test_the_table_and_the_data_say_the_same():
    effect = Effect(9229.0, 0.06, {8: 0.06, 128: 0.94}, (Attention("channel", 128, 64.0, 64),))
    row = term_table({"loss_a": 1.0}, {"fgd": 3.0}, {"fgd": 1.0}, {"fgd": effect}).splitlines()[-2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["fgd", "3", "1", "9.23e+03 x task", "0.06", "128: 94 %, 8: 6 %", "channel 64 of 64 (128)"]
    data = effect.data()
    assert data["gradient"] == 9229.0 and data["levels"] == {"8": 0.06, "128": 0.94}
    assert data["attentions"] == [{"kind": "channel", "stride": 128, "largest": 64.0, "count": 64}]
    assert Effect(float("nan"), float("nan")).data()["gradient"] is None

"""A loss whose weight is 0 is not computed; what trains ends with the bits of 0 times the loss."""

from __future__ import annotations

import paddle
import pytest
from test_distill_model import Adapted, as_bytes, distiller
from toy import toy_batch

from ppkd.distill import WeightSchedule
from ppkd.distill.preflight import first_losses

ENDED = {"schedule": WeightSchedule(stop_epoch=2)}


class Counted(Adapted):
    """Knows how often it was computed and prepared."""

    computed = 0
    prepared = ()

    def forward(self, *given):
        self.computed += 1
        return super().forward(*given)

    def due(self, epoch):
        return True

    def prepare(self, epoch, material):
        self.prepared = (*self.prepared, epoch)


class Times0(Adapted):
    """Weighs nothing by itself, so that it is computed."""

    def forward(self, *given):
        return 0.0 * super().forward(*given)


@pytest.mark.parametrize("settings", [{"weight": 0.0}, ENDED], ids=["weight", "schedule"])
def test_neither_loss_nor_teacher_is_computed_and_the_log_says_zero(settings):
    model = distiller(Counted, **settings)
    model.set_progress(2.0)
    ran = []
    model.teacher.detector.neck[0].register_forward_pre_hook(lambda *_: ran.append("teacher"))
    terms = model(toy_batch())
    assert terms["kd"].item() == 0 and terms["loss"].item() == terms["loss_count"].item()
    assert not ran and not model.losses["kd"].computed
    if "schedule" in settings:
        model.set_progress(1.9)
        assert model(toy_batch())["kd"].item() > 0
        assert ran and model.losses["kd"].computed == 1


def test_student_and_adapters_train_to_the_same_bits_as_if_it_were_computed():
    found = []
    for loss, settings in ((Adapted, {"weight": 0.0}), (Times0, {})):
        model = distiller(loss, **settings)
        optimizer = paddle.optimizer.Adam(0.1, parameters=model.parameters(), weight_decay=0.01)
        for seed in range(3):
            model.train()
            model(toy_batch(seed=seed))["loss"].backward()
            assert all(parameter.grad is not None for parameter in model.losses.parameters())
            optimizer.step()
            optimizer.clear_grad()
        found.append(as_bytes(model))
    assert found[0] == found[1]


def test_a_batch_without_labels_still_has_gradients():
    """As the processes need them that are in step with others."""
    model = distiller(Adapted, weight=0.0)
    model(toy_batch(labelled=[False, False]))["loss"].backward()
    for parameter in (*model.losses.parameters(), model.student.neck[0].weight):
        assert (parameter.grad == 0).all().item()


def test_nothing_is_prepared_for_a_loss_that_is_over():
    model = distiller(Counted, **ENDED)
    assert [model.due(epoch) for epoch in range(4)] == [True, True, False, False]
    assert not distiller(Counted, weight=0.0).due(0)
    warming = distiller(Counted, schedule=WeightSchedule(warmup_epochs=1))
    assert warming.due(0)
    model.prepare(2, None)
    assert model.losses["kd"].prepared == ()


def test_the_check_before_training_still_shows_what_would_be_compared(caplog):
    model = distiller(Adapted, schedule=WeightSchedule(warmup_epochs=1))
    with caplog.at_level("INFO", logger="ppkd"):
        first = first_losses(model, toy_batch(), 0, prepared=True)
    assert first.distilled == {"kd": 0.0} and first.weights == {"kd": 0.0}

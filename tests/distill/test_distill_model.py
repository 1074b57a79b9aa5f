"""The invariants of distillation: a frozen teacher, a plain student, losses under their own names."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import pytest
from paddle import nn
from sides import side
from toy import ToyDetector, toy_batch

from ppkd.distill import DistillLoss, DistillModel, FrozenTeacher, Progress, WeightSchedule
from ppkd.distill.losses import OutputL2, YOLOv3FineGrained
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError, SpecError


class Adapted(DistillLoss):
    """A loss with an adapter on the neck, and a look at the boxes when asked."""

    def __init__(self, student, teacher, **settings):
        super().__init__(student, teacher, consumes=["neck"], **settings)
        pair = self.pairs["neck"][0]
        self.align = paddle.nn.Conv2D(
            student.entries["neck"].levels[pair.student].channels,
            teacher.entries["neck"].levels[pair.teacher].channels,
            1,
        )

    def forward(self, student, teacher, truth, at):
        pair = self.pairs["neck"][0]
        return ((self.align(student.record["neck"][pair.student]) - teacher.record["neck"][pair.teacher]) ** 2).mean()


class NeedsBoxes(Adapted):
    needs_truth = True

    def forward(self, student, teacher, truth, at):
        assert student.record.neck[0].shape[0] == teacher.record.neck[0].shape[0] == truth.boxes.shape[0]
        return super().forward(student, teacher, truth, at)


def distiller(loss=OutputL2, teacher_channels=6, **settings):
    paddle.seed(0)
    student, teacher = ToyDetector(), ToyDetector(channels=teacher_channels)
    losses = {"kd": loss(student.spec(), teacher.spec(), **settings)}
    return DistillModel(student, FrozenTeacher(teacher, losses["kd"].consumes), losses)


def as_bytes(layer):
    return {name: tensor.numpy().tobytes() for name, tensor in layer.state_dict().items()}


def train(model, steps=3, **batch):
    optimizer = paddle.optimizer.Momentum(0.1, parameters=model.parameters(), weight_decay=0.01)
    for seed in range(steps):
        model.train()
        model(toy_batch(seed=seed, **batch))["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()


@pytest.mark.parametrize("loss", [OutputL2, YOLOv3FineGrained, Adapted])
def test_teacher_bytes_do_not_change(loss):
    model = distiller(loss)
    before, mark = as_bytes(model.teacher.detector), model.teacher.fingerprint()
    model.teacher.detector.train()
    train(model)
    assert as_bytes(model.teacher.detector) == before
    assert model.teacher.fingerprint() == mark


def test_fingerprint_sees_a_single_buffer():
    model = distiller()
    mark = model.teacher.fingerprint()
    model.teacher.detector.norm._mean[0] = 1e-6
    assert model.teacher.fingerprint() != mark


def test_teacher_is_in_no_parameter_list_and_no_state():
    model = distiller(Adapted)
    trained = {id(p) for p in model.parameters()}
    assert not trained & {id(p) for p in model.teacher.detector.parameters()}
    assert {name.split(".")[0] for name in model.state_dict()} == {"student", "losses"}


def test_adapters_train_and_are_absent_from_the_student():
    model = distiller(Adapted)
    before = as_bytes(model.losses)
    train(model)
    assert before and all(as_bytes(model.losses)[name] != value for name, value in before.items())
    assert set(model.deployable().state_dict()) == set(ToyDetector().state_dict())


def test_every_loss_appears_weighted_under_its_key():
    model = distiller(OutputL2, weight=2.0)
    model.eval()
    batch = toy_batch()
    terms = model(batch)
    student, teacher = model.student.extract(batch), model.teacher.detector.extract(batch)
    expected = 0.0
    for level in range(2):
        pairs = [(getattr(student, e)[level], getattr(teacher, e)[level]) for e in model.losses["kd"].consumes]
        own = np.concatenate([a.numpy() for a, _ in pairs], axis=2)
        other = np.concatenate([b.numpy() for _, b in pairs], axis=2)
        expected += ((own - other) ** 2).mean()
    assert terms["kd"].item() == pytest.approx(2.0 * expected, rel=1e-6)
    assert terms["loss"].item() == pytest.approx(terms["kd"].item() + terms["loss_count"].item(), rel=1e-6)


@pytest.mark.parametrize("name", ["loss", "loss_count"])
def test_a_loss_cannot_take_the_place_of_the_students(name):
    model = distiller()
    model.losses = nn.LayerDict({name: model.losses["kd"]})
    with pytest.raises(ConfigError, match=f"losses.{name}: the student has a loss term of that name"):
        model(toy_batch())


def test_equal_models_have_no_l2_loss():
    model = distiller(OutputL2, teacher_channels=4)
    model.student.set_state_dict(model.teacher.detector.state_dict())
    model.eval()
    assert model(toy_batch())["kd"].item() == 0.0


def test_unlabelled_images_give_distillation_losses_only():
    model = distiller(OutputL2)
    model.eval()
    mixed = model(toy_batch(images=3, labelled=[True, False, True]))
    batch = toy_batch(images=3, labelled=[True, False, True])
    student = model.student.extract(batch).images(paddle.to_tensor([0, 2]))
    truth = Truth.of({"gt_bbox": [batch["gt_bbox"][0], batch["gt_bbox"][2]]})
    task = model.student.loss(student, model.student.assign(student, truth))["loss_count"]
    assert mixed["loss_count"].item() == pytest.approx(task.item(), rel=1e-6)
    all_labelled = model(toy_batch(images=3))
    assert mixed["kd"].item() == pytest.approx(all_labelled["kd"].item(), rel=1e-6)


def test_a_batch_without_labels_still_distils():
    model = distiller(OutputL2)
    terms = model(toy_batch(labelled=[False, False]))
    assert set(terms) == {"kd", "loss"}
    terms["loss"].backward()
    assert paddle.abs(model.student.head.weight.grad).sum().item() > 0


def test_labels_are_read_before_the_step_has_queued_work():
    model = distiller(NeedsBoxes)
    batch = toy_batch(images=3, labelled=[True, False, True])
    waited = []

    class Watched:
        def numpy(self):
            waited.append("labels")
            return np.array([True, False, True])

        def index_select(self, index, axis):
            return batch["labelled"].index_select(index, axis=axis)

    model.student.neck[0].register_forward_pre_hook(lambda *_: waited.append("student"))
    model({**batch, "labelled": Watched()})
    assert waited == ["labels", "student"]


def test_a_loss_that_needs_boxes_sees_labelled_images_only():
    model = distiller(NeedsBoxes)
    model.eval()
    mixed = model(toy_batch(images=3, labelled=[True, True, False]))["kd"].item()
    alone = model({key: value[:2] for key, value in toy_batch(images=3).items()})["kd"].item()
    assert mixed == pytest.approx(alone, rel=1e-6)


def test_a_neck_loss_leaves_the_teachers_head_alone():
    model = distiller(Adapted)
    model.teacher.detector.head.register_forward_pre_hook(lambda *_: pytest.fail("the head ran"))
    model(toy_batch())


def test_weight_schedule():
    model = distiller(OutputL2, weight=4.0, schedule=WeightSchedule(warmup_epochs=2, decay="cosine", stop_epoch=8))
    model.eval()
    batch, values = toy_batch(), []
    for epoch in (0.0, 1.0, 2.0, 4.0, 8.0, 9.0):
        model.set_progress(epoch)
        values.append(model(batch)["kd"].item())
    full = values[3] / 0.5
    assert values == pytest.approx(
        [0.0, full * 0.5 * 0.5 * (1 + np.cos(np.pi / 8)), full * 0.5 * (1 + np.cos(np.pi / 4)), full / 2, 0, 0],
        rel=1e-5,
    )


def test_levels_pair_by_stride():
    paddle.seed(0)
    student, teacher = ToyDetector(strides=(8, 16)), ToyDetector(strides=(4, 8))
    loss = OutputL2(student.spec(), teacher.spec())
    assert [(p.student, p.teacher, p.stride) for p in loss.pairs["objectness"]] == [(0, 1, 8)]
    batch = toy_batch()
    own, other = student.extract(batch), teacher.extract(batch)
    value = loss(side(own), side(other), Truth.of(batch), Progress()).item()
    gaps = [(own[entry][0] - other[entry][1]).numpy() for entry in loss.consumes]
    assert value == pytest.approx((np.concatenate(gaps, axis=2) ** 2).mean(), rel=1e-6)


def test_a_loss_names_both_sides_when_a_record_lacks_an_entry():
    toy, other = ToyDetector().spec(), ToyDetector(num_classes=2).spec()
    only_neck = replace(toy.only(["neck"]), name="Bare")
    with pytest.raises(SpecError, match=r"YOLOv3FineGrained consumes .*but Bare records \['neck'\].*lacks"):
        YOLOv3FineGrained(toy, only_neck)
    with pytest.raises(SpecError, match=r"cls_logits at stride 4 differs.*3 channels.*2 x"):
        OutputL2(toy, other)
    with pytest.raises(SpecError, match=r"no level of neck has the same stride in Toy \[4, 8\] and Toy \[32\]"):
        Adapted(toy, ToyDetector(strides=(32,)).spec())

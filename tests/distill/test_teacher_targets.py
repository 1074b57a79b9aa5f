"""The factor on the total, and targets that the student's assigner finds in the teacher's record."""

from __future__ import annotations

import paddle
import pytest
from toy import ToyDetector, toy_batch

from ppkd.config import load_config
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.distill.losses import DistillPPYOLOELoss, Mimic, OutputL2
from ppkd.models import build_detector
from ppkd.utils.errors import SpecError


class Watched(ToyDetector):
    """A detector whose targets are what it records of objectness, and which remembers its last ones."""

    seen: list[float] | None = None

    def match(self, record, truth):
        targets = paddle.stack([level.mean(axis=[1, 2, 3, 4]) for level in record.objectness]).mean(axis=0)
        self.seen = targets.tolist()
        return targets.detach()


def objectness(detector, batch, images=slice(None)):
    record = detector.extract(batch)
    return paddle.stack([level.mean(axis=[1, 2, 3, 4]) for level in record.objectness]).mean(axis=0)[images].tolist()


def model(student=Watched, loss=Mimic, teacher=None, weight=1.0, **options):
    paddle.seed(0)
    student, teacher = student(), teacher or ToyDetector(channels=5)
    losses = {"kd": loss(student.spec(), teacher.spec(), weight=weight)}
    made = DistillModel(student, FrozenTeacher.of_losses(teacher, losses.values(), assigned=True), losses, **options)
    made.eval()
    return made


def test_the_total_weighs_every_term_and_the_gradients():
    batch = toy_batch()
    terms, gradients = [], []
    for options in ({}, {"total_weight": 0.125}):
        made = model(ToyDetector, **options)
        terms.append(made(batch))
        terms[-1]["loss"].backward()
        gradients.append(made.student.head.weight.grad.numpy())
    for name, term in terms[0].items():
        assert terms[1][name].item() == 0.125 * term.item()
    assert (gradients[1] == 0.125 * gradients[0]).all()
    assert abs(gradients[0]).max() > 0


def test_from_its_epoch_on_the_targets_are_those_of_the_teachers_record():
    made = model(teacher_targets_from=2)
    batch = toy_batch()
    for epoch, decides in ((0.0, made.student), (1.9, made.student), (2.0, made.teacher.detector)):
        made.set_progress(epoch)
        made(batch)
        assert made.student.seen == pytest.approx(objectness(decides, batch), rel=1e-5)


def test_they_are_those_of_the_labelled_images_and_no_loss_is_needed_for_them():
    made = model(teacher_targets_from=0, weight=0.0)
    batch = {**toy_batch(3, labelled=[True, False, True]), "labelled": paddle.to_tensor([True, False, True])}
    made(batch)
    expected = objectness(made.teacher.detector, batch)
    assert made.student.seen == pytest.approx([expected[0], expected[2]], rel=1e-5)


def test_a_teacher_whose_record_the_assigner_cannot_read_is_refused():
    with pytest.raises(SpecError, match=r"student\.teacher_targets_from: cls_logits at stride 4 differs"):
        model(teacher=ToyDetector(num_classes=4), teacher_targets_from=1)
    with pytest.raises(SpecError, match=r"cls_logits is at strides \[4, 8\] in Toy, but at \[8, 16\]"):
        model(teacher=ToyDetector(strides=(8, 16)), teacher_targets_from=1)
    assert model(loss=OutputL2, teacher=ToyDetector(), teacher_targets_from=1)


@pytest.mark.slow
def test_ppyoloes_ratings_follow_the_teachers_predictions(root):
    """After its static assigner the head's targets, and the task's loss, are those of the teacher's predictions."""
    config = load_config(root / "configs/shapes/ppyoloe_plus_crn_160_shapes.yml", ["pretrain_weights=null"])
    student, teacher = (build_detector(config) for _ in range(2))
    for detector in (student, teacher):
        for name, parameter in detector.head.named_parameters():
            if name.startswith("pred_") and parameter.ndim == 4:
                parameter.set_value(0.05 * paddle.randn(parameter.shape))
    losses = {"logits": DistillPPYOLOELoss(student.spec(), teacher.spec())}
    frozen = FrozenTeacher.of_losses(teacher, losses.values(), assigned=True)
    made = DistillModel(student, frozen, losses, teacher_targets_from=3)
    made.eval()
    batch = {
        "image": paddle.randn([2, 3, 64, 64]),
        "im_shape": paddle.full([2, 2], 64.0),
        "gt_bbox": [paddle.to_tensor([[4.0, 6.0, 50.0, 44.0]]), paddle.to_tensor([[20.0, 10.0, 60.0, 60.0]])],
        "gt_class": [paddle.to_tensor([0]), paddle.to_tensor([1])],
    }
    made.set_progress(3.0)
    student.head.static_assigner_epoch = 0
    with paddle.no_grad():
        terms = made(batch)
        record, answer = student.extract(batch), teacher.extract(batch)
        targets = student.assign(answer, batch)
        expected, own = (student.loss(record, one) for one in (targets, student.assign(record, batch)))
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5)
    assert targets.rating.sum().item() > 0
    assert own["loss_cls"].item() != pytest.approx(expected["loss_cls"].item(), rel=1e-4)

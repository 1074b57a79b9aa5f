"""What every distillation loss promises with every detector, and with every pair of different ones."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import paddle
import pytest
from pairs import DETECTORS, LOSSES, OWN_DETECTORS, OWN_LOSSES, batch, detector, loss_between, spec

from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.utils.errors import SpecError

ALL_LOSSES = [*LOSSES, *OWN_LOSSES]
PAIRS = [
    *permutations(DETECTORS, 2),
    ("FCOS", "RetinaNet"),
    ("GFL", "FCOS"),
    ("TinyQueries", "FCOS"),
    ("FasterRCNN", "TinyQueries"),
]
ALIKE = [(loss, name, name) for loss, name in product(ALL_LOSSES, [*DETECTORS, *OWN_DETECTORS])]
MIXED = [(loss, *names) for loss, names in product(ALL_LOSSES, PAIRS)]


@pytest.fixture
def model(request):
    """The distillation model of a pair; where the types exclude it, the message is checked and the test is done."""
    loss, *names = request.param
    paddle.seed(2)
    try:
        built = loss_between(loss, *map(spec, names))
    except SpecError as error:
        assert loss in str(error)
        assert any(name in str(error) for name in names)
        return None
    student, teacher = detector(names[0], seed=0), detector(names[1], seed=1)
    return DistillModel(student, FrozenTeacher.of_losses(teacher, [built]), {"kd": built})


alike = pytest.mark.parametrize("model", ALIKE, indirect=True, ids="-".join)
mixed = pytest.mark.parametrize("model", MIXED, indirect=True, ids="-".join)


@alike
@pytest.mark.parametrize("boxes", [(3, 1), (2, 0), (0, 0)])
def test_gradients_reach_the_student_and_every_adapter_and_never_the_teacher(model, boxes):
    if model is not None:
        check_gradients(model, boxes)


@mixed
def test_gradients_of_different_detectors(model):
    if model is not None:
        check_gradients(model, (2, 0))


def check_gradients(model, boxes):
    """A finite scalar whose gradient reaches the student and every adapter, and never the teacher, whose bytes stay."""
    mark = model.teacher.fingerprint()
    value = model(batch(boxes))["kd"]
    assert tuple(value.shape) == ()
    assert np.isfinite(value.item())
    value.backward()
    reached = [paddle.abs(p.grad).sum().item() for p in model.student.parameters() if p.grad is not None]
    nothing_to_see = value.item() == 0 and (not any(boxes) or lacks_the_finest(model))
    assert reached if nothing_to_see else max(reached, default=0) > 0
    for name, parameter in model.losses.named_parameters():
        assert parameter.grad is not None, f"{name} gets no gradient"
    assert all(p.grad is None for p in model.teacher.detector.parameters())
    assert model.teacher.fingerprint() == mark


def lacks_the_finest(model):
    """Whether the teacher has no level like the student's finest one, to which small boxes may all belong."""
    own, other = (of.spec().entries["neck"].strides for of in (model.student, model.teacher))
    return own[0] not in other


@alike
def test_the_same_inputs_give_the_same_loss_in_float32(model):
    if model is None:
        return
    model.eval()
    first, second = (model(batch())["kd"] for _ in range(2))
    assert first.dtype == paddle.float32
    assert first.item() == second.item()


@alike
def test_the_deployed_student_knows_nothing_of_the_distillation(model):
    if model is None:
        return
    plain = detector(type(model.student).__name__, seed=0)
    assert list(model.deployable().state_dict()) == list(plain.state_dict())

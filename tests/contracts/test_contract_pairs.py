"""What every distillation loss promises with every detector, and with every pair of different ones.

Whether they go together is asked of all; those of :func:`design.design` are computed.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
import paddle
import pytest
from design import answers, design
from pairs import ALL_DETECTORS, ALL_LOSSES, batch, detector, loss_between, shared_student, shared_teacher

from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.distill.side import Progress

CASES = list(product(ALL_LOSSES, ALL_DETECTORS))
computed = pytest.mark.parametrize(("loss", "student"), CASES, ids=["-".join(case) for case in CASES])


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_a_loss_takes_some_pairs_and_names_those_that_it_refuses(loss):
    refusals = {pair: refusal for pair, refusal in answers(loss).items() if refusal is not None}
    assert len(refusals) < len(ALL_DETECTORS) ** 2
    for pair, refusal in refusals.items():
        assert loss in refusal
        assert any(name in refusal for name in pair)


def test_the_design_leaves_out_no_student_no_teacher_and_no_pair():
    taken = {loss: [pair for pair, refusal in answers(loss).items() if refusal is None] for loss in ALL_LOSSES}
    for loss, pairs in design().items():
        assert set(pairs) <= set(taken[loss])
        for side in (0, 1):
            assert {pair[side] for pair in pairs} == {pair[side] for pair in taken[loss]}
    assert {pair for pairs in design().values() for pair in pairs} == {
        pair for pairs in taken.values() for pair in pairs
    }
    assert design() == design.__wrapped__()


@computed
@pytest.mark.parametrize("boxes", [(3, 1, 0), (0, 0)])
def test_gradients_reach_the_student_and_every_adapter_and_never_the_teacher(loss, student, boxes):
    for model in models(loss, student):
        check_gradients(model, boxes)


@computed
def test_the_same_inputs_give_the_same_loss_in_float32(loss, student):
    for model in models(loss, student):
        model.eval()
        with paddle.no_grad():
            first, second = (model(batch())["kd"] for _ in range(2))
        assert first.dtype == paddle.float32
        assert first.item() == second.item()


@computed
def test_the_deployed_student_knows_nothing_of_the_distillation(loss, student):
    for model in models(loss, student):
        assert list(model.deployable().state_dict()) == names_alone(student)


@pytest.mark.parametrize("loss", ALL_LOSSES)
def test_what_a_loss_shows_of_itself_fits_the_levels_and_images(loss):
    own, other = design()[loss][0]
    made, (teacher, _) = shared_student(own), shared_teacher(other)
    built = loss_between(loss, made.spec(), teacher.spec())
    model = DistillModel(made, FrozenTeacher.of_losses(teacher, [built]), {"kd": built})
    seen = model.compare(batch((3, 1, 0)), {"kd": built})
    given = seen.given["kd"]
    with paddle.no_grad():
        shown = built.explain(given.student, given.teacher, given.truth, Progress())
    images = len(given.truth.labels)
    strides = {level.stride for entry in made.spec().entries.values() for level in entry.levels}
    for one in shown.maps:
        assert one.values.ndim == 3
        assert len(one.values) == images
        assert one.stride in strides
        values = one.values.numpy()
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert one.reading.endswith(".")
    for one in shown.lines:
        assert 0 <= one.image < images
        assert set(one.lines) == {"student", "teacher"}
        assert all(np.isfinite(line.numpy()).all() for line in one.lines.values())
    grids = [name for name in built.consumes if made.spec().entries[name].kind == "grid"]
    assert shown.maps or not grids


@cache
def names_alone(student):
    """The names of a detector's weights that no loss has seen."""
    return list(detector(student, seed=0).state_dict())


def models(loss, student):
    """The distillation models of the design with that loss and that student, one after the other."""
    for name in [other for own, other in design()[loss] if own == student]:
        made = shared_student(student)
        teacher, _ = shared_teacher(name)
        built = loss_between(loss, made.spec(), teacher.spec())
        yield DistillModel(made, FrozenTeacher.of_losses(teacher, [built]), {"kd": built})


def check_gradients(model, boxes):
    """A finite scalar whose gradient reaches the student and every adapter, and never the teacher, whose bytes stay."""
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
    assert model.teacher.fingerprint() == shared_teacher(type(model.teacher.detector).__name__)[1]


def lacks_the_finest(model):
    """Whether the teacher has no level like the student's finest one, to which small boxes may all belong."""
    own, other = (of.spec().entries["neck"].strides for of in (model.student, model.teacher))
    return own[0] not in other

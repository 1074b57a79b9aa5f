"""Weights that hold a share of the task's gradient on the student's neck."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from test_distill_model import Adapted, as_bytes
from toy import ToyDetector, toy_batch

from ppkd.config import load_config
from ppkd.distill import DistillModel, FrozenTeacher, WeightSchedule
from ppkd.distill.balance import Balance, Share
from ppkd.distill.gradients import gradients, neck_parameters
from ppkd.distill.losses import CWD, GlobalKnowledge, OutputL2
from ppkd.models import build_detector
from ppkd.models.losses.normaliser import NormaliserBook


class Pulling(Adapted):
    """A loss whose gradient is ``strength`` times as large."""

    strength = 1.0

    def forward(self, student, teacher, truth, at):
        return super().forward(student, teacher, truth, at) * self.strength


def distiller(share=0.5, loss=Adapted, **settings):
    paddle.seed(0)
    student = ToyDetector()
    teacher = ToyDetector(channels=6)
    made = loss(student.spec(), teacher.spec(), weight=Share(share), **settings)
    return DistillModel(student, FrozenTeacher(teacher, made.consumes), {"kd": made})


def measured(model, batch):
    """Norms of the task's and of the weighted loss's gradient on the neck, by a backward pass for each."""
    found = []
    for term in ("loss_count", "kd"):
        model.clear_gradients()
        model(batch)[term].backward()
        grads = [p.grad.numpy().ravel() for p in model.student.part("neck").parameters() if p.grad is not None]
        found.append(np.concatenate(grads))
    model.clear_gradients()
    return found


def run(model, steps, *, per_epoch=100, rate=0.0, first=0, batch=lambda step: toy_batch(seed=step)):
    """Updates with a learning rate, as the trainer makes them."""
    optimizer = paddle.optimizer.SGD(rate, parameters=model.parameters())
    for step in range(first, first + steps):
        model.train()
        model.set_progress(step / per_epoch, step)
        model(batch(step))["loss"].backward()
        optimizer.step()
        optimizer.clear_grad()


def test_gradients_are_those_of_a_backward_pass_and_touch_nothing():
    model = distiller()
    batch = toy_batch()
    model.eval()
    seen = model.compare(batch, dict(model.losses.items()))
    rows = gradients([seen.total, seen.raw["kd"], None], neck_parameters(model.student)).numpy()
    assert all(p.grad is None for p in model.parameters())
    seen.total.backward(retain_graph=True)
    parts = [p.grad.numpy().ravel() for p in neck_parameters(model.student)]
    np.testing.assert_allclose(rows[0], np.concatenate(parts), rtol=1e-6, atol=1e-9)
    assert np.abs(rows[1]).max() > 0 and not rows[2].any()


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_the_first_look_gives_the_share(share):
    model = distiller(share)
    run(model, 1)
    task, kd = measured(model, toy_batch(seed=0))
    assert np.linalg.norm(kd) / np.linalg.norm(task) == pytest.approx(share, rel=1e-4)
    standing = model.balance.standing()["kd"]
    assert standing.share == pytest.approx(share, rel=1e-6)
    cosine = task @ kd / np.linalg.norm(kd) / np.linalg.norm(task)
    assert standing.cosine == pytest.approx(cosine, abs=1e-4) and standing.probes == 1


def test_it_does_not_matter_how_large_the_loss_is():
    weights = []
    for strength in (1.0, 2.0**20):
        model = distiller(loss=Pulling)
        model.losses["kd"].strength = strength
        run(model, 3)
        weights.append(model.weight_of("kd").item() * strength)
    assert weights[0] == weights[1] > 0


def test_looks_are_the_first_ten_updates_and_every_fiftieth(monkeypatch):
    model = distiller()
    looked = []
    add = model.balance.add
    monkeypatch.setattr(model.balance, "add", lambda rows: (looked.append(model.balance._step), add(rows)))
    run(model, 53)
    assert looked == [*range(10), 50]


def test_the_means_are_plain_at_first_and_then_forget():
    balance = Balance({"kd": 0.5})
    norms = [1.0, 4.0, 2.0, 8.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0, 64.0]
    for step, norm in zip([*range(10), 50], norms, strict=True):
        balance.begin(0.1, step)
        balance.add(paddle.to_tensor([[3.0, 0.0], [0.0, norm]]))
        if step < 9:
            assert balance.weights.tolist() == pytest.approx([1.5])
    mean = np.log(norms[:10]).mean()
    assert balance.first.tolist() == pytest.approx([1.5 * np.exp(-mean)])
    assert balance.weights.tolist() == balance.first.tolist()
    assert balance.log_norms[1].item() == pytest.approx(0.9 * mean + 0.1 * np.log(64.0))


def standing_at(share_now, *, weight=1.0, asked=0.5):
    """A balance after its first looks, at a weight, with that share of the gradient."""
    balance = Balance({"kd": asked})
    balance.first.set_value(paddle.ones([1], "float64"))
    balance.weights.set_value(paddle.full([1], weight, "float64"))
    balance.probes.set_value(paddle.full([2], 10.0, "float64"))
    balance.log_norms.set_value(paddle.to_tensor([0.0, np.log(share_now / weight)], "float64"))
    return balance


@pytest.mark.parametrize(
    ("share", "weight", "expected"),
    [
        (0.26, 1.0, 1.0),
        (0.99, 1.0, 1.0),
        (1.25, 1.0, 0.8),
        (0.2, 1.0, 1.25),
        (0.01, 1.0, 2.0),
        (100.0, 1.0, 0.1),
        (0.01, 8.0, 10.0),
        (100.0, 0.05, 0.01),
    ],
)
def test_a_weight_goes_to_the_nearer_edge_within_its_bounds_where_an_epoch_begins(share, weight, expected):
    balance = standing_at(share, weight=weight)
    balance.begin(2.5, 60)
    assert balance.weights.item() == weight
    balance.begin(3.0, 60)
    assert balance.weights.item() == pytest.approx(expected)


def test_shares_above_one_in_sum_are_divided_by_it():
    assert Balance({"a": 1.5, "b": 0.5}).shares == {"a": 0.75, "b": 0.25}
    assert Balance({"a": 0.5, "b": 0.25}).shares == {"a": 0.5, "b": 0.25}


def test_what_is_zero_or_not_finite_is_left_out():
    balance = Balance({"kd": 0.5, "other": 0.25})
    rows = ([[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]], [[1.0, 0.0], [float("nan"), 0.0], [-4.0, 0.0]], [[0.0, 0.0]] * 3)
    for step, one in enumerate(rows):
        balance.begin(0.1, step)
        balance.add(paddle.to_tensor(one))
    assert balance.probes.tolist() == [2.0, 1.0, 1.0]
    assert balance.weights.tolist() == [0.25, 0.0625]
    other = balance.standing()["other"]
    assert (other.against, other.cosine) == (1.0, -1.0)


def test_a_schedule_multiplies_afterwards():
    model = distiller(schedule=WeightSchedule(warmup_epochs=4))
    plain = distiller()
    for one in (model, plain):
        run(one, 12)
        one.set_progress(2.0)
    assert plain.weight_of("kd").item() > 0
    assert model.weight_of("kd").item() == pytest.approx(0.5 * model.balance.weight("kd").item())


def test_the_share_holds_while_a_model_learns():
    model = distiller(0.5)
    run(model, 120, per_epoch=20, rate=0.001, batch=lambda step: toy_batch(seed=step % 3))
    assert 0.25 <= model.balance.standing()["kd"].share <= 1.0
    shares = [
        np.linalg.norm(kd) / np.linalg.norm(task) for task, kd in (measured(model, toy_batch(seed=i)) for i in range(3))
    ]
    assert 0.25 <= np.exp(np.log(shares).mean()) <= 1.0


def test_a_share_that_drifts_is_kept_in_its_band_by_the_epochs():
    """The loss's gradient grows by a tenth from look to look, to 117 times; the weight stops at its floor."""
    balance = Balance({"kd": 0.5})
    shares, weights = [], []
    for step in range(50 * 50):
        balance.begin(step / 100, step)
        if balance.probing:
            balance.add(paddle.to_tensor([[1.0, 0.0], [0.0, 1.1 ** (step / 50)]]))
        if step % 100 == 99:
            shares.append(balance.standing()["kd"].share)
            weights.append(balance.weights.item())
    assert max(shares) < 1.3 and min(shares) > 0.4
    assert (np.diff(weights) <= 0).all() and weights[-1] < weights[0] / 10


def test_parts_of_an_update_are_looked_at_as_one():
    batch = toy_batch(images=4)
    halves = [{key: value[part] for key, value in batch.items()} for part in (slice(0, 2), slice(2, 4))]
    found = []
    for parts in ([batch], halves):
        model = distiller(loss=OutputL2)
        model.eval()
        model.set_progress(0.0, 0)
        book = NormaliserBook(len(parts))
        with paddle.no_grad():
            for part in parts:
                with book.counting():
                    model(part)
        book.close()
        assert not model.balance.probes.numpy().any()
        for part in parts:
            with book.given():
                model(part)
        found.append(np.concatenate([model.balance.weights.numpy(), model.balance.cosines.numpy()]))
    assert found[0][0] > 0
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_everything_is_in_the_state_so_that_training_goes_on_with_the_same_bits():
    whole, first = distiller(), distiller()
    run(whole, 70, per_epoch=20, rate=0.02)
    run(first, 33, per_epoch=20, rate=0.02)
    second = distiller()
    for name, tensor in first.state_dict().items():
        second.state_dict()[name].set_value(tensor)
    run(second, 37, per_epoch=20, rate=0.02, first=33)
    assert as_bytes(second) == as_bytes(whole)
    assert {name for name in whole.state_dict() if name.startswith("balance")} == {
        f"balance.{name}" for name in ("cosines", "against", "weights", "first", "log_norms", "probes")
    }


def test_looking_changes_no_gradient():
    models = [distiller(), distiller()]
    run(models[0], 1)
    models[1].set_state_dict(models[0].state_dict())
    rows = []
    for model, step in zip(models, (5, 20), strict=True):
        model.eval()
        model.set_progress(0.1, step)
        model(toy_batch(seed=7))["loss"].backward()
        rows.append([p.grad.numpy() for p in model.parameters() if p.grad is not None])
    assert models[0].balance.probing and not models[1].balance.probing
    np.testing.assert_equal(rows[0], rows[1])


def test_two_losses_have_a_share_each():
    paddle.seed(0)
    student, teacher = ToyDetector(), ToyDetector(channels=6)
    losses = {
        "l2": OutputL2(student.spec(), teacher.spec(), weight=Share(0.25)),
        "plain": CWD(student.spec(), teacher.spec(), weight=3.0),
        "cwd": CWD(student.spec(), teacher.spec(), weight=Share(0.5)),
    }
    model = DistillModel(student, FrozenTeacher.of_losses(teacher, losses.values()), losses)
    run(model, 2)
    assert {name: one.share for name, one in model.balance.standing().items()} == pytest.approx(
        {"l2": 0.25, "cwd": 0.5}, rel=0.5
    )
    assert model.weight_of("plain") == 3.0


def test_without_a_share_nothing_is_kept():
    paddle.seed(0)
    student, teacher = ToyDetector(), ToyDetector()
    model = DistillModel(student, FrozenTeacher(teacher), {"kd": OutputL2(student.spec(), teacher.spec())})
    assert model.balance is None
    assert {name.split(".")[0] for name in model.state_dict()} == {"student"}


def test_a_loss_with_a_number_for_a_weight_has_no_share(retina):
    loss = GlobalKnowledge(retina.spec(), retina.spec())
    assert loss.gradient_share is None and loss.share == 1.0, "its own share is that of a level in the mean"
    assert DistillModel(retina, FrozenTeacher(retina), {"gk": loss}).balance is None


@pytest.fixture(scope="module")
def retina(root):
    return build_detector(load_config(str(root / "configs/shapes/retinanet_r18_160_shapes.yml")))

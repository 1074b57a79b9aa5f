from __future__ import annotations

import csv
import logging
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from engine_toy import BATCHES, Distilled, Loader, Student, make_trainer

from ppkd.engine.evaluation import evaluate
from ppkd.engine.hooks.snapshot import Evaluation, SnapshotPlan
from ppkd.engine.loss_window import LossWindow
from ppkd.utils.errors import TrainingError
from ppkd.utils.serialization import read_pickle, read_weights

LINE = re.compile(
    r"Epoch: \[\d+\] \[ *\d+/\d+\] learning_rate: \d+\.\d{6} (\w+: -?\d+\.\d{6} )+loss: -?\d+\.\d{6} "
    r"eta: (\d+ days?, )?\d+:\d\d:\d\d batch_cost: \d+\.\d{4} data_cost: \d+\.\d{4} ips: \d+\.\d{4} images/s"
)


class FakeMetric:
    """A metric whose headline is given; remembers whether the model was in evaluation mode."""

    headline = "AP"

    def __init__(self, values):
        self.values = values
        self.images = 0

    def update(self, batch, result):
        self.images += result["bbox"].shape[0]

    def accumulate(self):
        return {"AP": self.values.pop(0), "AP50": 0.5}

    def log(self, logger):
        logger.info("figures of %d images", self.images)


def rows(folder):
    with (Path(folder) / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_training_lines_have_the_form_that_parsers_know(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    make_trainer(tmp_path, kind="distilled", epochs=1, loader=Loader(batches=12)).train()
    lines = [record.getMessage() for record in caplog.records if "ips:" in record.getMessage()]
    assert len(lines) == 12
    assert all(LINE.fullmatch(line) for line in lines), lines[0]
    assert lines[0].startswith("Epoch: [0] [ 0/12] learning_rate: 0.005000 loss_a: ")
    assert lines[0].index(" l2: ") < lines[0].index(" loss: ") < lines[0].index(" eta: ")


def test_lines_give_medians_of_twenty_steps_and_the_csv_means_of_the_epoch():
    window = LossWindow()
    for value in [100.0] * 10 + [float(v) for v in range(20)]:
        window.add({"loss": paddle.to_tensor(value), "loss_a": paddle.to_tensor(2 * value)})
    window.read()
    assert window.medians() == {"loss_a": 19.0, "loss": 9.5}
    assert window.means()["loss"] == pytest.approx((1000 + 190) / 30)


def test_losses_are_fetched_once_for_many_steps(monkeypatch):
    window = LossWindow()
    fetched = []
    original = paddle.Tensor.numpy
    monkeypatch.setattr(paddle.Tensor, "numpy", lambda self: fetched.append(1) or original(self))
    for _ in range(10):
        window.add({"loss": paddle.ones([]), "loss_a": paddle.ones([])})
    assert not fetched
    window.read()
    assert len(fetched) == 1


def test_checkpoints_have_paddledetections_names(tmp_path):
    make_trainer(tmp_path, epochs=5, interval=2).train()
    names = {file.name for file in tmp_path.iterdir()}
    stems = ("1", "3", "model_final")
    assert {f"{stem}{suffix}" for stem in stems for suffix in (".pdparams", ".pdopt", ".pdstates")} <= names
    assert not {name for name in names if name.startswith(("0.", "2.", "4."))}
    assert [row["epoch"] for row in rows(tmp_path)] == ["0", "1", "2", "3", "4"]


def test_weights_are_the_plain_student_and_the_average_with_ema(tmp_path):
    plain = make_trainer(tmp_path / "d", kind="distilled")
    plain.train()
    student = plain.model.student.state_dict()
    saved = read_weights(tmp_path / "d" / "model_final")
    assert {name: list(array.shape) for name, array in saved.items()} == {n: list(t.shape) for n, t in student.items()}
    assert all(np.array_equal(saved[name], tensor.numpy()) for name, tensor in student.items())
    assert set(read_pickle(tmp_path / "d" / "model_final.pdstates")["adapters"]) == {
        "losses.l2.weight",
        "losses.l2.bias",
    }
    averaged = make_trainer(tmp_path / "e", kind="ema")
    averaged.train()
    saved = read_weights(tmp_path / "e" / "model_final")
    with averaged.averaged():
        assert np.array_equal(saved["conv.weight"], averaged.model.conv.weight.numpy())
    assert not np.array_equal(saved["conv.weight"], averaged.model.conv.weight.numpy())


def test_adapters_train_and_losses_hear_of_the_progress(tmp_path):
    trainer = make_trainer(tmp_path, kind="distilled", epochs=2)
    before = trainer.model.losses["l2"].weight.numpy().copy()
    trainer.train()
    assert not np.array_equal(before, trainer.model.losses["l2"].weight.numpy())
    assert trainer.model.epochs_seen == pytest.approx([i / BATCHES for i in range(2 * BATCHES)])


def test_evaluation_keeps_the_best_model_and_writes_the_figures(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    values = [0.2, 0.6, 0.4]
    hook = Evaluation(SnapshotPlan(1), Loader(batches=2), FakeMetric(values))
    trainer = make_trainer(tmp_path, extra=[hook])
    trainer.train()
    best = read_pickle(tmp_path / "best_model.pdstates")["position"]
    assert (best["best"], best["best_epoch"], best["epoch"]) == (0.6, 1, 2)
    assert np.array_equal(
        read_weights(tmp_path / "best_model")["head.weight"], read_weights(tmp_path / "1")["head.weight"]
    )
    assert read_pickle(tmp_path / "model_final.pdstates")["position"]["best"] == 0.6
    messages = [record.getMessage() for record in caplog.records]
    assert [m for m in messages if m.startswith("Best")] == [
        f"Best test bbox ap is {x}." for x in ("0.200", "0.600", "0.600")
    ]
    assert "Eval iter: 0" in messages
    assert any(re.fullmatch(r"Total sample number: 4, average FPS: \d+\.\d+", m) for m in messages)
    assert [row["AP"] for row in rows(tmp_path)] == ["0.2", "0.6", "0.4"]
    names = {"epoch", "step", "learning_rate", "batch_cost", "loss_a", "loss_b", "loss", "AP", "AP50"}
    assert names == set(rows(tmp_path)[0])


@pytest.mark.parametrize(
    ("values", "best"), [([0.4, 0.4, 0.4], 0), ([0.2, 0.4, 0.4], 1), ([float("nan"), 0.0, 0.0], 1)]
)
def test_the_first_of_equal_models_stays_the_best(tmp_path, values, best):
    trainer = make_trainer(tmp_path, extra=[Evaluation(SnapshotPlan(1), Loader(batches=1), FakeMetric(values))])
    trainer.train()
    assert trainer.position.best_epoch == best
    kept, of_epoch = (read_weights(tmp_path / name)["head.weight"] for name in ("best_model", str(best)))
    assert np.array_equal(kept, of_epoch)
    assert not np.array_equal(kept, read_weights(tmp_path / "model_final")["head.weight"])


def test_a_run_ends_when_no_evaluation_was_better_for_long_enough(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    values = [0.2, 0.6, 0.5, 0.6, 0.9]
    hook = Evaluation(SnapshotPlan(1), Loader(batches=1), FakeMetric(values), patience=2)
    trainer = make_trainer(tmp_path, epochs=9, extra=[hook])
    trainer.train()
    assert values == [0.9] and (trainer.position.epoch, trainer.position.best_epoch) == (4, 1)
    assert "AP has not risen in 2 evaluations since epoch 1 (patience: 2): training ends" in caplog.messages
    final, last = (read_weights(tmp_path / name)["head.weight"] for name in ("model_final", "3"))
    assert np.array_equal(final, last)


def test_a_resumed_run_ends_where_one_without_a_pause_does(tmp_path):
    """Also one that had ended early: nothing is trained beyond its end, unless its patience grows."""
    plan, numbers = SnapshotPlan(1), [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    make_trainer(
        tmp_path, epochs=9, extra=[Evaluation(plan, Loader(batches=1), FakeMetric([*numbers]), patience=2)]
    ).train()
    for patience, epochs in ((2, 3), (4, 5)):
        hook = Evaluation(plan, Loader(batches=1), FakeMetric([0.1] * 6), patience=patience)
        trainer = make_trainer(tmp_path, epochs=9, extra=[hook])
        trainer.resume(tmp_path / "model_final")
        trainer.train()
        assert trainer.position.epoch == epochs


def test_the_best_model_is_that_of_the_figure_that_is_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)

    class Two(FakeMetric):
        def accumulate(self):
            return {"AP": 0.5, "AP50": self.values.pop(0)}

    hook = Evaluation(SnapshotPlan(1), Loader(batches=1), Two([0.3, 0.8, 0.4]), best_by="AP50")
    trainer = make_trainer(tmp_path, extra=[hook])
    trainer.train()
    assert trainer.position.best_epoch == 1 and "Best test AP50 is 0.800." in caplog.messages
    absent = Evaluation(SnapshotPlan(1), Loader(batches=1), FakeMetric([0.1]), best_by="segm_AP")
    with pytest.raises(TrainingError, match="best_by is segm_AP, but this evaluation gives AP, AP50 alone"):
        make_trainer(tmp_path / "absent", extra=[absent]).train()


def test_evaluation_leaves_training_as_it_was(tmp_path):
    """With and without evaluation the trained bits are the same, with batch statistics, dropout and an average."""
    hook = Evaluation(SnapshotPlan(1), Loader(batches=2), FakeMetric([0.1, 0.1, 0.1]))
    for name, extra in (("with", [hook]), ("without", [])):
        make_trainer(tmp_path / name, kind="ema", extra=extra).train()
    with_, without = (read_weights(tmp_path / name / "model_final") for name in ("with", "without"))
    assert all(np.array_equal(array, without[name]) for name, array in with_.items())


def test_evaluate_uses_evaluation_mode_and_restores_each_layers_flag():
    model = Student()
    model.train()
    model.norm.eval()
    before = model.norm._mean.numpy().copy()
    evaluate(model, Loader(batches=1), FakeMetric([0.0]))
    assert np.array_equal(before, model.norm._mean.numpy())
    assert (model.training, model.norm.training, model.drop.training) == (True, False, True)


def test_broken_weights_are_never_saved(tmp_path):
    trainer = make_trainer(tmp_path)
    trainer.model.head.weight.set_value(np.full([2, 4, 1, 1], np.nan, "float32"))
    with pytest.raises(TrainingError, match=r"head\.weight"):
        trainer.save("0")
    assert not list(tmp_path.glob("0.*"))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_adapters_are_never_saved(tmp_path, value):
    """They are no part of the weights that are shipped, but a run could not go on from them."""
    trainer = make_trainer(tmp_path, kind="distilled")
    trainer.save("0")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    trainer.model.losses["l2"].bias.set_value(np.full([3], value, "float32"))
    for name in ("0", "1"):
        with pytest.raises(TrainingError, match=rf"losses\.l2\.bias has values that are not finite, so '{name}'"):
            trainer.save(name)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_frozen_parts_are_not_handed_to_the_optimizer(tmp_path):
    model = Distilled()
    model.student.conv.weight.stop_gradient = True
    before = model.student.conv.weight.numpy().copy()
    make_trainer(tmp_path, model=model).train()
    assert np.array_equal(before, model.student.conv.weight.numpy())

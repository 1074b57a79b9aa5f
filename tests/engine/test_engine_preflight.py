"""What is looked at before the first step, and that looking changes nothing."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import time
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.distill import preflight_teacher
from ppkd.distill.build import build_losses
from ppkd.distill.preflight import FirstLosses, check_teachers
from ppkd.distill.preflight_report import pair_table
from ppkd.distill.preflight_teacher import judge_teachers
from ppkd.engine import random_state
from ppkd.engine.saved_batch import save_batch
from ppkd.experiment import Experiment, TrainOptions, preflight, train
from ppkd.experiment.assembly import assemble
from ppkd.experiment.preflight import run_preflight, untouched
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError, PPKDError, TrainingError
from ppkd.utils.serialization import read_pickle, read_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
SLIM = "slim/distill/yolov3_l2.yml"
READERS = ("TrainReader.sample_transforms.2", "EvalReader.sample_transforms.1")
DRY = TrainOptions(dry_run=True)
MANY, FEW = 24, 3
"""Evaluation images: enough to judge a teacher, and too few."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    draw_shapes(folder, images_train=8, images_val=MANY, size=64, seed=1)
    return folder


@pytest.fixture
def settings(root, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    data = [f"{key}.dataset_dir={shapes}" for key in ("TrainDataset", "EvalDataset")]
    sizes = [f"{reader}.Resize.target_size=[64,64]" for reader in READERS]
    return [*data, *sizes, "epoch=1", "worker_num=0", "TrainReader.batch_size=4", f"save_dir={tmp_path}"]


@pytest.fixture(scope="module")
def weights(root, shapes, tmp_path_factory):
    """A student's checkpoint after one epoch: as a teacher it finds nothing."""
    here = Path.cwd()
    os.chdir(root)
    try:
        sizes = [f"{READERS[0]}.Resize.target_size=[64,64]", f"TrainDataset.dataset_dir={shapes}"]
        run = ["epoch=1", "worker_num=0", "TrainReader.batch_size=4", f"save_dir={tmp_path_factory.mktemp('teacher')}"]
        return train(load_config(CONFIG, [*sizes, *run])) / "model_final"
    finally:
        os.chdir(here)


def slim_of(weights, *overrides):
    return load_config(SLIM, [f"teacher.config={CONFIG}", f"teacher.weights={weights}", *overrides])


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def state(trainer):
    """Everything that a preflight could have moved."""
    found = {name: tensor.numpy().copy() for name, tensor in trainer.model.state_dict().items()}
    found["modes"] = [layer.training for layer in trainer.model.sublayers(include_self=True)]
    found["streams"] = random_state.capture()
    found["loader"] = (trainer.loader._epoch, trainer.loader._skip, dict(trainer.loader.unreadable))
    found["gradients"] = [p.grad is None for p in trainer.model.parameters()]
    found["teacher"] = trainer.model.teacher.fingerprint()
    return found


def test_nothing_is_changed_by_looking(settings, weights, monkeypatch):
    """The teacher is judged too, whatever its figures, and the losses draw random numbers."""
    monkeypatch.setattr(preflight_teacher, "CHANCE", -1.0)
    cfg = load_config(CONFIG, settings)
    slim = slim_of(weights, "losses.mgd={type: MGD}", "student.inherit=[neck]")
    assembly = assemble(Experiment.parse(cfg, slim))
    trainer = assembly.trainer
    trainer.model.train()
    before = state(trainer)
    run_preflight(assembly)
    np.testing.assert_equal(state(trainer), before)


@pytest.mark.slow
def test_a_run_with_it_ends_with_the_same_bits_as_one_without(settings, weights, monkeypatch, tmp_path):
    settings = [*settings, "use_ema=true", "preflight.evaluate=false"]
    folders = []
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr("ppkd.experiment.training.run_preflight", lambda *a, **k: None)
        folders.append(train(load_config(CONFIG, [*settings, f"filename={name}"]), slim_of(weights)))
    one, two = (read_weights(folder / "model_final") for folder in folders)
    np.testing.assert_equal(one, two)
    streams = [read_pickle(folder / "model_final.pdstates")["random"] for folder in folders]
    np.testing.assert_equal(*streams)


def test_a_dry_run_reports_and_writes_nothing_but_its_log(settings, weights, tmp_path):
    cfg = load_config(CONFIG, [*settings, "filename=dry", "preflight.evaluate=false"])
    folder = train(cfg, slim_of(weights), options=DRY)
    assert files(folder) == ["train.log"]
    log = (folder / "train.log").read_text()
    assert "Teacher: fingerprint " in log
    assert "Classes: the teacher's are the student's: circle, square, triangle, star" in log
    assert "| l2   | OutputL2 | cls_logits | 8      | [4, 3, 4, 8, 8] | [4, 3, 4, 8, 8] | none    |" in log
    assert "| loss_obj |" in log and "| l2       |" in log


def test_the_first_losses_are_those_of_the_first_step(settings, weights, monkeypatch):
    cfg, slim = load_config(CONFIG, [*settings, "preflight.evaluate=false"]), slim_of(weights)
    assembly = assemble(Experiment.parse(cfg, slim))
    trainer = assembly.trainer
    seen = []
    monkeypatch.setattr(FirstLosses, "check", lambda terms: seen.extend([terms.task, terms.distilled]))
    run_preflight(assembly)
    trainer.train()
    first = trainer.events.losses._recent[0]
    assert {**seen[0], **seen[1]} == pytest.approx({name: v for name, v in first.items() if name != "loss"}, rel=1e-6)


def test_adapters_are_told_level_by_level(settings):
    teacher = "configs/shapes/yolov3_mobilenet_v1_x0.5_160_shapes.yml"
    cfg = load_config(CONFIG, settings)
    slim = load_config("slim/distill/fgd.yml", [f"teacher.config={teacher}", "teacher.weights=unused"])
    student, taught_by = build_detector(cfg), build_detector(load_config(teacher))
    losses = build_losses(slim, student.spec(), taught_by.spec())
    batch = {"image": paddle.zeros([1, 3, 64, 64])}
    answers = dict.fromkeys(losses, taught_by.extract(batch))
    rows = pair_table(losses, student.extract(batch), answers).splitlines()[3:-1]
    assert [row.split("|")[4].strip() for row in rows] == ["8", "16", "32"]
    sizes = [sum(p.size for p in formula.parameters()) for formula in losses["fgd"].formulas]
    assert all(f"{size:,} numbers" in row for size, row in zip(sizes, rows, strict=True))


def terms_of(caplog, task, distilled, weights, **further):
    caplog.set_level(logging.INFO)
    FirstLosses(task, distilled, weights, **further).check()
    return [(record.levelname, record.getMessage()) for record in caplog.records]


def test_a_term_out_of_proportion_is_remarked_on_with_its_remedy_whatever_its_value(caplog):
    weights = {"big": 2.0, "fair": 1.0}
    said = terms_of(
        caplog, {"a": 1.0}, {"big": 300.0, "fair": 0.1}, weights, remedies={"fair": ["set losses.fair.b: c"]}
    )
    assert said == [("WARNING", "losses.fair: set losses.fair.b: c")]


def test_what_was_seen_is_written_beside_the_log(settings, weights, tmp_path):
    cfg = load_config(CONFIG, [*settings, "filename=kd", "preflight.evaluate=false"])
    folder = train(cfg, slim_of(weights))
    seen = json.loads((folder / "preflight.json").read_text())
    assert set(seen["task"]) == {"loss_xy", "loss_wh", "loss_obj", "loss_cls"}
    l2 = seen["distilled"]["l2"]
    assert l2["gradient"] > 0 and -1 <= l2["cosine"] <= 1 and l2["value"] > 0 and isinstance(l2["remedies"], list)


def test_a_term_of_zero_is_remarked_on_unless_its_weight_is(caplog):
    said = terms_of(caplog, {"loss_a": 1.0}, {"dead": 0.0, "later": 0.0}, {"dead": 1.0, "later": 0.0})
    assert [level for level, _ in said] == ["WARNING", "INFO"]
    assert "losses.dead is exactly 0" in said[0][1] and "losses.later is switched off" in said[1][1]


def test_a_term_that_is_not_finite_ends_the_run_before_it_begins(settings, weights, monkeypatch, tmp_path):
    formula = "ppkd.distill.losses.output_l2.F.mse_loss"
    monkeypatch.setattr(formula, lambda ours, theirs: (ours - theirs).sum() * float("inf"))
    with pytest.raises(TrainingError, match=r"l2 is (nan|-?inf) on the first batch"):
        train(load_config(CONFIG, [*settings, "filename=kd"]), slim_of(weights))
    assert files(tmp_path / "kd") == ["train.log"]


def test_a_teacher_that_finds_nothing_is_refused_unless_told_otherwise(settings, weights, tmp_path):
    with pytest.raises(TrainingError, match=r"AP50 0\.0.* on 24 images with \d+ boxes.*preflight\.evaluate=false"):
        train(load_config(CONFIG, [*settings, "filename=kd"]), slim_of(weights))
    train(
        load_config(CONFIG, [*settings, "preflight.evaluate=false"]),
        slim_of(weights),
        options=DRY,
    )


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["preflight.images=3"], "too few boxes"),
        (["preflight.seconds=0", "EvalReader.batch_size=1"], "boxes were seen in 0 s"),
        (["EvalDataset.anno_path=absent.json"], r"The teacher is not evaluated: .*absent\.json"),
    ],
)
def test_without_enough_to_go_by_nothing_is_concluded(settings, weights, caplog, overrides, message):
    cfg = load_config(CONFIG, [*settings, *overrides])
    folder = train(cfg, slim_of(weights), options=DRY)
    assert re.search(message, (folder / "train.log").read_text())


def test_a_resumed_run_judges_its_teacher_no_more(settings, weights, monkeypatch):
    monkeypatch.setattr(preflight, "judge_teachers", lambda *a, **k: pytest.fail("judged"))
    cfg, slim = load_config(CONFIG, settings), slim_of(weights)
    run_preflight(assemble(Experiment.parse(cfg, slim, TrainOptions(resume="somewhere"))))


def test_a_teacher_no_better_than_the_students_start_is_remarked_on(caplog):
    caplog.set_level(logging.INFO)

    def judge(teacher, start):
        preflight_teacher._judge("teacher", {"teacher": teacher, preflight_teacher.STUDENT: start}, "10 images")

    judge((0.5, 0.30), (0.6, 0.31))
    assert "does not beat the student's start (AP 0.310)" in caplog.text
    caplog.clear()
    judge((0.5, 0.30), (0.4, 0.20))
    preflight_teacher._judge("teacher", {"teacher": (preflight_teacher.CHANCE, 0.004)}, "10 images")
    assert "WARNING" not in caplog.text


def test_the_student_is_evaluated_where_it_starts_trained(settings, weights, monkeypatch):
    judged = []
    monkeypatch.setattr(preflight_teacher, "_judge", lambda name, figures, of: judged.append(list(figures)))
    for starts in (False, True):
        cfg = load_config(CONFIG, settings)
        assembly = assemble(Experiment.parse(cfg, slim_of(weights)))
        experiment = assembly.experiment
        judge_teachers(cfg, experiment.runtime, experiment.evaluation_loader, assembly.distilled, starts=starts)
    assert judged == [["teacher"], ["teacher", preflight_teacher.STUDENT]]


def test_classes_in_another_order_are_refused_and_other_names_remarked_on(settings, weights, caplog):
    model = assemble(Experiment.parse(load_config(CONFIG, settings), slim_of(weights))).trainer.model
    names = ("circle", "square", "triangle", "star")
    with pytest.raises(TrainingError, match=r"in another order: circle, square.*\['box_xywh', 'cls_logits'"):
        check_teachers(model, names[::-1])
    check_teachers(model, ("circle", "square", "triangle", "moon"))
    assert "trained on other classes, circle, square, triangle, star" in caplog.text


def test_a_batch_from_a_file_takes_the_place_of_the_first_one_gradients_included(settings, tmp_path):
    """NaN passes rectifiers as 0, so a broken image may show in the gradients alone."""
    first = assemble(Experiment.parse(load_config(CONFIG, settings))).trainer.loader.peek(0, 1)
    for name, factor in (("good", 1.0), ("bad", float("nan"))):
        save_batch(tmp_path / f"{name}.npz", {**first, "image": first["image"] * factor})
    settings = [*settings, "filename=again"]
    train(load_config(CONFIG, [*settings, f"preflight.batch={tmp_path / 'good.npz'}"]), options=DRY)
    assert "Every gradient of this batch is finite" in (tmp_path / "again" / "train.log").read_text()
    with pytest.raises(TrainingError, match=r"gradient of .* is not finite.*Pixels of image \d+, "):
        train(
            load_config(CONFIG, [*settings, f"preflight.batch={tmp_path / 'bad.npz'}"]),
            options=DRY,
        )


def test_mistakes_in_its_settings_are_named(settings):
    for override, message in (
        ("preflight.evalute=false", "did you mean 'evaluate'"),
        ("preflight.images=few", "images"),
    ):
        with pytest.raises(ConfigError, match=message):
            train(load_config(CONFIG, [*settings, override]), options=DRY)


def test_streams_and_statistics_are_as_before_even_after_an_error():
    norm = paddle.nn.BatchNorm2D(2)
    before = (norm._mean.numpy().copy(), random.getstate(), paddle.rand([0]))
    streams = random_state.capture()
    with pytest.raises(PPKDError), untouched(norm):
        norm(paddle.rand([2, 2, 3, 3]))
        norm.eval()
        random.random()
        np.random.rand()
        raise TrainingError("inside")
    np.testing.assert_equal(random_state.capture(), streams)
    assert norm.training and np.array_equal(norm._mean.numpy(), before[0])


def test_it_takes_seconds(settings, weights):
    cfg, slim = load_config(CONFIG, [*settings, "preflight.evaluate=false"]), slim_of(weights)
    assembly = assemble(Experiment.parse(cfg, slim))
    started = time.perf_counter()
    run_preflight(assembly)
    assert time.perf_counter() - started < 10

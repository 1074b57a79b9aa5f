"""Losses and gradients that are not finite: every way in which they come, and what they must not do."""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from engine_toy import BATCHES, Loader, Student, make_trainer

from ppkd.config import Config, build
from ppkd.data.annotation import Annotation
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.engine.non_finite import image_namer, repeat_command
from ppkd.engine.optimizer_state import export_state
from ppkd.engine.precision import ScaledPrecision
from ppkd.engine.saved_batch import load_batch, save_batch
from ppkd.utils.errors import DataError, TrainingError
from ppkd.utils.serialization import read_weights

sys.path.append(str(Path(__file__).resolve().parents[1] / "contracts"))
from pairs import batch, detector

NAN = float("nan")


class Faulty(Student):
    """A student whose loss breaks, in the way ``fault``, at the forward passes ``at``."""

    def __init__(self, fault, at):
        super().__init__()
        self.fault = fault
        self.at = set(at)
        self.passes = 0

    def forward(self, batch):
        broken = self.passes in self.at
        self.passes += 1
        if broken and self.fault == "image":
            batch["image"][1, 0, 2, 3] = NAN
        terms = super().forward(batch)
        if broken and self.fault == "term":
            terms["loss_b"] = terms["loss_b"] * float("inf")
            terms["loss"] = terms["loss"] + terms["loss_b"]
        if broken and self.fault == "gradient":
            terms["loss"] = terms["loss"] + (self.head.weight * 0.0).square().sum().sqrt()
        return terms


def faulty_trainer(folder, fault, at, **settings):
    """A toy run with an average whose ``fault`` comes at the steps ``at``."""
    return make_trainer(folder, kind="ema", model=Faulty(fault, at), **settings)


def everything(trainer):
    """All numbers that a step changes: weights, statistics, optimizer, average."""
    found = {name: tensor.numpy().copy() for name, tensor in trainer.model.state_dict().items()}
    for name, kinds in export_state(trainer.update.optimizer, dict(trainer.model.named_parameters())).items():
        found.update({f"{name}/{kind}": array for kind, array in kinds.items()})
    average = trainer.update.ema.state()
    return {**found, **average.pop("averages"), **{name: np.array(value) for name, value in average.items()}}


MESSAGES = {
    "term": r"step 2 \(epoch 0, batch 2\): loss_b is inf\. Images: 4, 5\.",
    "gradient": r"step 2 \(epoch 0, batch 2\): the gradient of head\.weight is not finite, though every loss is\.",
    "image": r"step 2 \(epoch 0, batch 2\): .* not finite.* Pixels of image 5 are not finite\.",
}


@pytest.mark.parametrize("fault", MESSAGES)
def test_a_broken_step_is_named_written_and_changes_nothing(tmp_path, caplog, fault):
    caplog.set_level(logging.WARNING)
    trainer = faulty_trainer(tmp_path, fault, at=[2])
    batches = list(Loader())
    for images in batches[:2]:
        trainer.run_step([images], 0.05)
    before = everything(trainer)
    trainer.run_step([batches[2]], 0.05)
    after = everything(trainer)
    assert all(np.array_equal(array, after[name]) for name, array in before.items())
    assert re.search(MESSAGES[fault], caplog.text), caplog.text
    again = load_batch(tmp_path / "non_finite" / "step2.npz")
    np.testing.assert_array_equal(again["image"].numpy(), batches[2]["image"].numpy())
    trainer.run_step([batches[3]], 0.05)
    assert not np.array_equal(everything(trainer)["head.weight"], before["head.weight"])
    assert all(np.isfinite(array).all() for array in everything(trainer).values())


@pytest.mark.parametrize("fault", MESSAGES)
def test_single_broken_steps_do_not_end_a_run_and_leave_no_trace_in_its_files(tmp_path, fault):
    faulty_trainer(tmp_path, fault, at=[1, 4, 7]).train()
    for name in ("0", "model_final"):
        assert all(np.isfinite(array).all() for array in read_weights(tmp_path / name).values())
    assert "nan" not in (tmp_path / "results.csv").read_text()


@pytest.mark.parametrize(("stop_after", "last"), [(1, BATCHES + 2), (3, BATCHES + 4)])
def test_the_run_ends_after_so_many_in_a_row_before_a_good_checkpoint_is_overwritten(tmp_path, stop_after, last):
    model = Faulty("term", at=range(BATCHES + 2, 99))
    trainer = make_trainer(tmp_path, model=model, stop_after=stop_after)
    with pytest.raises(TrainingError, match=rf"step {last} \(epoch 1.*The run ends: .*base_lr"):
        trainer.train()
    assert (tmp_path / "0.pdparams").is_file() and not (tmp_path / "1.pdparams").exists()


def test_a_finite_step_starts_the_count_anew_and_zero_never_ends_the_run(tmp_path):
    broken = [step for step in range(15) if step % 5]
    trainer = faulty_trainer(tmp_path / "anew", "term", at=broken)
    trainer.train()
    assert trainer.position.epoch == 3
    model = Faulty("term", at=range(1, 99))
    trainer = make_trainer(tmp_path / "never", model=model, stop_after=0)
    trainer.train()
    assert trainer.position.epoch == 3
    assert len(list((tmp_path / "never" / "non_finite").glob("*.npz"))) == 5


def test_a_good_step_reads_one_flag_from_the_device(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    batches = list(Loader())
    trainer.run_step([batches[0]], 0.05)
    read = []
    for name in ("numpy", "item", "tolist", "__bool__", "__float__"):
        original = getattr(paddle.Tensor, name)
        monkeypatch.setattr(paddle.Tensor, name, lambda *a, _o=original, _n=name, **k: read.append(_n) or _o(*a, **k))
    trainer.run_step([batches[1]], 0.05)
    assert read == ["numpy"]


def test_an_overflow_under_loss_scaling_lowers_the_scale_and_is_no_fault(tmp_path, rounding):
    model = Faulty("gradient", at=[1])
    precision = ScaledPrecision("O1")
    trainer = make_trainer(tmp_path, model=model, precision=precision, stop_after=1)
    for images in list(Loader())[:3]:
        trainer.run_step([images], 0.05)
    assert precision.scale == 512
    assert not (tmp_path / "non_finite").exists()
    precision.scale, model.at = 1.0, {3}
    with pytest.raises(TrainingError, match=r"gradient of head\.weight"):
        trainer.run_step([list(Loader())[3]], 0.05)


def test_images_are_named_by_file_in_the_set_that_they_are_of():
    labelled, unlabelled = (
        [Annotation.bare(Path(f"{folder}/{i}.jpg"), i) for i in range(2)] for folder in ("train", "more")
    )
    batch = {"im_id": paddle.to_tensor([[1], [0], [7]]), "labelled": paddle.to_tensor([True, False, True])}
    assert image_namer(labelled, unlabelled)(batch) == ["1 (train/1.jpg)", "0 (more/0.jpg)", "7 (unknown)"]


def test_a_batch_with_lists_survives_its_file_and_other_files_are_refused(tmp_path):
    boxes = [paddle.rand([3, 4]), paddle.zeros([0, 4]), paddle.rand([1, 4])]
    batch = {"image": paddle.rand([3, 3, 4, 4]), "gt_bbox": boxes, "labelled": paddle.to_tensor([True, False, True])}
    save_batch(tmp_path / "a.npz", batch)
    again = load_batch(tmp_path / "a.npz")
    assert set(again) == set(batch) and again["labelled"].dtype == paddle.bool
    assert all(np.array_equal(one.numpy(), two.numpy()) for one, two in zip(boxes, again["gt_bbox"], strict=True))
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    np.savez(tmp_path / "pickled.npz", image=np.array([{"a": 1}], object))
    for name in ("text.npz", "other.npz", "pickled.npz", "absent.npz"):
        with pytest.raises(DataError, match=rf"{name}.*folder non_finite"):
            load_batch(tmp_path / name)


def test_the_command_to_see_a_batch_again_is_this_one_as_a_dry_run():
    argv = ["tools/train.py", "-c", "a b.yml", "-o", "epoch=1"]
    command = repeat_command(Path("out/non_finite/step3.npz"), argv)
    assert command.endswith(
        "tools/train.py -c 'a b.yml' -o epoch=1 --dry_run -o preflight.batch=out/non_finite/step3.npz"
    )


def test_a_teacher_that_breaks_while_training_is_named_by_its_loss(tmp_path, caplog):
    student, teacher = detector("YOLOv3", seed=0), detector("YOLOv3", seed=1)
    broken = next(p for name, p in teacher.named_parameters() if name.endswith("yolo_output.0.weight"))
    broken.set_value(paddle.full_like(broken, NAN))
    loss = build(Config({}, {}), "OutputL2", student=student.spec(), teacher=teacher.spec())
    trainer = make_trainer(tmp_path, model=DistillModel(student, FrozenTeacher(teacher), {"l2": loss}))
    trainer.run_step([batch()], 0.01)
    assert re.search(r"step 0 \(epoch 0, batch 0\): l2 is nan\. Images: 0, 1\.", caplog.text), caplog.text
    assert all(paddle.isfinite(p).all().item() for p in student.parameters())

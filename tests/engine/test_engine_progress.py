"""A student inside a distillation model is told how far training is, as a detector alone is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from engine_toy import make_trainer

from ppkd.config import Config, build
from ppkd.distill import DistillModel, FrozenTeacher

sys.path.append(str(Path(__file__).resolve().parents[1] / "contracts"))
from pairs import batch, detector


@pytest.mark.parametrize("distilled", [False, True], ids=["alone", "distilled"])
def test_the_assigner_changes_at_its_epoch(tmp_path, distilled):
    """PP-YOLOE assigns by ATSS until epoch 4 and by its own predictions from then on."""
    student, teacher = detector("PPYOLOE", seed=0), detector("PPYOLOE", seed=1)
    loss = build(Config({}, {}), "OutputL2", student=student.spec(), teacher=teacher.spec())
    model = DistillModel(student, FrozenTeacher(teacher), {"l2": loss}) if distilled else student
    trainer, images = make_trainer(tmp_path, model=model), batch()
    record = student.extract(images)
    labels = []
    for epoch in (0, 3, 4):
        trainer.position.epoch, trainer.position.batch = epoch, 0
        trainer.run_step([images], rate=0.0)
        labels.append(student.assign(record, images).labels.numpy())
    np.testing.assert_array_equal(labels[0], labels[1])
    assert (labels[1] != labels[2]).any()

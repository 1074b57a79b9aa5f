"""Measuring what a distillation model needs to know before the first step of a run."""

from __future__ import annotations

import paddle

from ppkd.distill.calibration import calibrate
from ppkd.experiment.assembly import Assembly
from ppkd.experiment.preflight import untouched
from ppkd.models.modes import statistics_kept


def run_calibration(assembly: Assembly) -> None:
    """Let the distillation model measure the first training batches, at the start of a run alone.

    Weights that hold a share of the gradient are those for the first update. A resumed run has what was measured in its
    checkpoint. Student, random streams, modes and the loader's position are the same afterwards.
    """
    model, trainer = assembly.distilled, assembly.trainer
    if model is None or trainer.position.step:
        return
    loader = assembly.loader
    with untouched(model.student):
        model.student.train()
        with trainer.update.casting():
            calibrate(model, (loader.update(0, number) for number in range(len(loader))))
        if model.balance is not None:
            model.set_progress(0.0, 0)
            with statistics_kept(model.losses), paddle.enable_grad():
                trainer.update.rehearse(list(loader.update(0, 0)))

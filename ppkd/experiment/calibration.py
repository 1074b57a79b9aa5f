"""Measuring what a distillation model needs to know before the first step of a run."""

from __future__ import annotations

from ppkd.distill.calibration import calibrate
from ppkd.experiment.assembly import Assembly
from ppkd.experiment.preflight import untouched


def run_calibration(assembly: Assembly) -> None:
    """Let the distillation model measure the first training batches, at the start of a run alone.

    A resumed run has what was measured in its checkpoint. Student, random streams, modes and the loader's position are
    the same afterwards.
    """
    model, trainer = assembly.distilled, assembly.trainer
    if model is None or trainer.position.step:
        return
    loader = assembly.loader
    with untouched(model.student), trainer.update.casting():
        model.student.train()
        calibrate(model, (loader.update(0, number) for number in range(len(loader))))

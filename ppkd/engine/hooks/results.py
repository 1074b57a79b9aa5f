"""``results.csv``: one row per epoch, next to the log."""

from __future__ import annotations

import csv
import io
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.engine.hooks.base import Hook
from ppkd.utils.atomic import atomic_open

if TYPE_CHECKING:
    from ppkd.engine.trainer import Step, Trainer

FILE_NAME = "results.csv"
BATCH_COST = "batch_cost"


class Results(Hook):
    """Epoch, step, learning rate, the median seconds of a step, the mean of each loss term, figures if evaluated.

    A resumed run keeps the rows of the epochs before it and writes the others anew; a new run starts a new file.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE_NAME
        self._rows: list[dict[str, str]] = []
        self._costs: list[float] = []

    def before_train(self, trainer: Trainer) -> None:
        """Read the rows of a resumed run."""
        if trainer.position.step and self._file.is_file():
            with self._file.open(newline="", encoding="utf-8") as stream:
                self._rows = [row for row in csv.DictReader(stream) if int(row["epoch"]) < trainer.position.epoch]

    def before_epoch(self, trainer: Trainer, epoch: int) -> None:
        """Forget the durations of the epoch before."""
        self._costs.clear()

    def after_step(self, trainer: Trainer, step: Step) -> None:
        """Keep the step's duration."""
        self._costs.append(step.batch_cost)

    def after_epoch(self, trainer: Trainer, epoch: int) -> None:
        """Add the epoch's row."""
        step = trainer.position.step
        costs = {BATCH_COST: statistics.median(self._costs)} if self._costs else {}
        numbers = {**costs, **trainer.losses.means(), **trainer.figures}
        row = {"epoch": str(epoch), "step": str(step), "learning_rate": f"{trainer.schedule(step - 1):.8g}"}
        self._rows.append({**row, **{name: f"{value:.6g}" for name, value in numbers.items()}})
        self._write()

    def _write(self) -> None:
        columns = list(dict.fromkeys(name for row in self._rows for name in row))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        with atomic_open(self._file) as stream:
            stream.write(text.getvalue().encode())

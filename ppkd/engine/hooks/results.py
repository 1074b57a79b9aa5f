"""``results.csv``: one row per epoch, next to the log."""

from __future__ import annotations

import csv
import io
import statistics
from pathlib import Path

from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.atomic import atomic_open
from ppkd.utils.csv_file import read_rows
from ppkd.utils.errors import DataError

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

    def before_train(self, run: TrainingRun) -> None:
        """Read the rows of a resumed run; raises :class:`DataError` for a file that no run wrote."""
        if run.position.step and self._file.is_file():
            self._rows = [row for row in read_rows(self._file, column="epoch") if self._epoch(row) < run.position.epoch]

    def _epoch(self, row: dict[str, str]) -> int:
        try:
            return int(row["epoch"])
        except ValueError as error:
            raise DataError(f"{self._file}: '{row['epoch']}' is no epoch; correct the file, or remove it") from error

    def before_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Forget the durations of the epoch before."""
        self._costs.clear()

    def after_step(self, run: TrainingRun, step: Step) -> None:
        """Keep the step's duration."""
        self._costs.append(step.batch_cost)

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Add the epoch's row."""
        step = run.position.step
        costs = {BATCH_COST: statistics.median(self._costs)} if self._costs else {}
        numbers = {**costs, **run.events.losses.means(), **run.events.figures}
        row = {"epoch": str(epoch), "step": str(step), "learning_rate": f"{run.schedule(step - 1):.8g}"}
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

"""What a person at a terminal sees of a training: a row for each epoch, below them a bar with the time that is left."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.logger import calm_console
from ppkd.utils.progress import Bar, on_terminal, progress, terminal_width

FIGURES = ("AP", "AP50", "AP75", "mAP")
WIDTH = 10
HEADING_EVERY = 20


class TerminalTable(Hook):
    """On a terminal alone: lines of the log go to the run's file, warnings and this table to the screen."""

    def __init__(self) -> None:
        self._open, self._bar_open = ExitStack(), ExitStack()
        self._bar: Bar | None = None
        self._rows = 0
        self._seconds = 0.0
        self._steps = 0

    def before_train(self, run: TrainingRun) -> None:
        """Begin to keep lines from the screen."""
        if on_terminal():
            self._open.enter_context(calm_console())

    def before_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Show the bar."""
        self._bar = self._bar_open.enter_context(progress(f"Epoch {epoch + 1} of {run.epochs}", len(run.loader)))
        self._bar.advance(run.position.batch)

    def after_step(self, run: TrainingRun, step: Step) -> None:
        """Move it, with the last loss that was read and the time that the rest of the run takes."""
        self._seconds += step.batch_cost
        self._steps += 1
        left = (run.epochs - step.epoch) * len(run.loader) - step.batch - 1
        loss = run.events.losses.medians().get("loss")
        note = f"run: {spent(left * self._seconds / self._steps)} left"
        if self._bar is not None:
            self._bar.advance(1, note=note if loss is None else f"loss {loss:.3f}  {note}")

    def after_epoch(self, run: TrainingRun, epoch: int) -> None:
        """Take it away, before an evaluation shows its own."""
        self._bar_open.close()

    def epoch_done(self, run: TrainingRun, epoch: int) -> None:
        """Print the epoch's row."""
        if on_terminal():
            rate = run.schedule(run.position.step - 1)
            names, cells = row(epoch, run.epochs, rate, run.events.losses.means(), run.events.figures, terminal_width())
            if self._rows % HEADING_EVERY == 0:
                print("".join(f"{name[-WIDTH + 1 :]:>{WIDTH}}" for name in names))
            print("".join(f"{cell:>{WIDTH}}" for cell in cells))
            self._rows += 1

    def close(self, run: TrainingRun) -> None:
        """Take the bar away; lines come to the screen again."""
        self._bar_open.close()
        self._open.close()


def row(
    epoch: int, epochs: int, rate: float, terms: Mapping[str, float], figures: Mapping[str, float], width: int
) -> tuple[list[str], list[str]]:
    """Headings and cells of an epoch's row: the total before its terms, of which as many as ``width`` has room for."""
    shown = {name: f"{100 * figures[name]:.1f}" if name in figures else "-" for name in _of_metric(figures)}
    room = width // WIDTH - 3 - len(shown)
    others = [name for name in terms if name != "loss"][: max(room, 0)]
    names = ["epoch", "lr", "loss", *others, *shown]
    losses = [f"{terms[name]:.3f}" if name in terms else "-" for name in ("loss", *others)]
    return names, [f"{epoch + 1}/{epochs}", f"{rate:.2g}", *losses, *shown.values()]


def spent(seconds: float) -> str:
    """``2:05:10`` or ``4:10``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def _of_metric(figures: Mapping[str, float]) -> list[str]:
    return ["mAP"] if "mAP" in figures else [name for name in FIGURES[:-1] if name in figures or not figures]

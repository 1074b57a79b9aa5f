"""Runs one after another, or one per slot: what is finished is left as it is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Lock

from ppkd.study.runs import CONSOLE_FILE, Run
from ppkd.utils.errors import ConfigError, PPKDError, TrainingError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


class RunsFailed(TrainingError):
    """Those of ``count`` runs that failed; ``names`` are theirs."""

    def __init__(self, names: Sequence[str], count: int) -> None:
        super().__init__(
            f"{len(names)} of {count} runs failed: {', '.join(names)}. What is finished stays; the same command "
            "goes on from there."
        )
        self.names = tuple(names)


class Slots:
    """Where runs go: ``jobs`` at once, or one on each of ``gpus`` (the numbers CUDA knows them by).

    Raises :class:`ConfigError` for less than one job.
    """

    def __init__(self, jobs: int = 1, gpus: Sequence[str] = ()) -> None:
        if jobs < 1:
            raise ConfigError(f"{jobs} runs at once: give --jobs 1 or more")
        self._environments: Queue[dict[str, str]] = Queue()
        places = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{} for _ in range(jobs)]
        self.count = len(places)
        self._counting = Lock()
        self._begun = 0
        self._planned = 0
        for place in places:
            self._environments.put(place)

    def plan(self, count: int) -> None:
        """Say that ``count`` more runs are to come, for what is told of the progress."""
        self._planned += count

    def perform(self, run: Run, folder: Path) -> dict[str, float]:
        """Bring ``run`` to its end in a free slot; returns its figures."""
        figures = run.figures(folder)
        if figures is not None:
            logger.info("%s is finished already (%s)", run.name, self._next())
            return figures
        environment = self._environments.get()
        try:
            started = time.perf_counter()
            place = "".join(f", {k}={v}" for k, v in environment.items())
            logger.info(
                "%s starts (%s%s); it writes %s", run.name, self._next(), place, folder / run.name / CONSOLE_FILE
            )
            run.perform(folder, environment)
            logger.info("%s is finished after %.1f minutes", run.name, (time.perf_counter() - started) / 60)
        finally:
            self._environments.put(environment)
        figures = run.figures(folder)
        if figures is None:
            raise TrainingError(f"{run.name} ended without figures: its evaluation wrote none to {folder / run.name}")
        return figures

    def _next(self) -> str:
        """``run 3 of 12``: the number of one more run, and how many are planned if that was said."""
        with self._counting:
            self._begun += 1
            return f"run {self._begun}" + (f" of {self._planned}" if self._planned else "")


def perform_all(runs: Sequence[Run], folder: Path, slots: Slots) -> dict[str, dict[str, float]]:
    """The figures of all ``runs`` by name.

    Raises :class:`RunsFailed` naming those that failed, after the others are finished.
    """
    figures, failures = {}, []
    with ThreadPoolExecutor(slots.count) as pool:
        waiting = [(run, pool.submit(slots.perform, run, folder)) for run in runs]
        try:
            for run, result in waiting:
                try:
                    figures[run.name] = result.result()
                except PPKDError as error:
                    logger.error("%s", error)
                    failures.append(run.name)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise
    if failures:
        raise RunsFailed(failures, len(runs))
    return figures

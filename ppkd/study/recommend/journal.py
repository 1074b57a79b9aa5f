"""The queue of pilots, in a journal of Optuna's that several processes, or machines with a common folder, work off."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ppkd.utils.errors import ConfigError

JOURNAL_FILE, STUDY = "journal.log", "recommend"
METHOD, EPOCHS, REASON = "method", "epochs", "reason"
INSTALL = "pip install '.[recommend]' in the clone"
Pilot = tuple[str, int]
"""A candidate's name, and the epochs to which it is trained."""


@dataclass(frozen=True)
class Taken:
    """A pilot of this process, its ``trial``, and the ``claim``: a file that is locked until the pilot is done."""

    pilot: Pilot
    trial: Any
    claim: IO[str]


class Journal:
    """Pilots that wait, run and are finished, as trials of an Optuna study in ``folder``.

    A pilot whose process ended without a word is known by its claim, a file whose lock the system takes away with the
    process; it waits again then. Raises :class:`ConfigError` when Optuna is not installed.
    """

    def __init__(self, folder: Path) -> None:
        optuna = _optuna()
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self._folder = folder
        self._states = optuna.trial.TrialState
        (folder / "claims").mkdir(parents=True, exist_ok=True)
        with self.locked():
            self._study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL_FILE))),
                sampler=optuna.samplers.RandomSampler(),
                study_name=STUDY,
                direction="maximize",
                load_if_exists=True,
            )

    @contextmanager
    def locked(self, what: str = "queue") -> Iterator[None]:
        """Inside no other process is at the same part of the search, or changes the queue."""
        with (self._folder / "claims" / what).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def add(self, pilots: Sequence[Pilot]) -> None:
        """Let ``pilots`` wait, those aside that are known already."""
        with self.locked():
            known = {self._pilot(trial) for trial in self._trials() if self._counts(trial)}
            for pilot in pilots:
                if pilot not in known:
                    self._enqueue(pilot)

    def take(self) -> Taken | None:
        """The first pilot that waits, now this process's; ``None`` when none waits."""
        with self.locked():
            self._put_back()
            if not any(trial.state == self._states.WAITING for trial in self._trials()):
                return None
            trial = self._study.ask()
            claim = self._claim(trial.number).open("w")
            fcntl.flock(claim, fcntl.LOCK_EX)
            return Taken(self._pilot(trial), trial, claim)

    def finish(self, taken: Taken, value: float) -> None:
        """Its figure."""
        with self.locked(), taken.claim:
            self._study.tell(taken.trial, value)

    def fail(self, taken: Taken, reason: str | None) -> None:
        """It ended without a figure; with a ``reason`` it is not tried again."""
        with self.locked(), taken.claim:
            if reason is not None:
                taken.trial.set_user_attr(REASON, reason)
            self._study.tell(taken.trial, state=self._states.FAIL)

    def values(self) -> dict[Pilot, float]:
        """The figures of all finished pilots."""
        return {self._pilot(one): one.value for one in self._trials() if one.state == self._states.COMPLETE}

    def reasons(self) -> dict[str, str]:
        """Why candidates cannot be trained, by name."""
        return {one.user_attrs[METHOD]: one.user_attrs[REASON] for one in self._trials() if REASON in one.user_attrs}

    def _put_back(self) -> None:
        """What runs nowhere any more waits again."""
        for trial in self._trials():
            if trial.state != self._states.RUNNING:
                continue
            with self._claim(trial.number).open("a") as claim, suppress(BlockingIOError):
                fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._study.tell(trial.number, state=self._states.FAIL)
                self._enqueue(self._pilot(trial))

    def _enqueue(self, pilot: Pilot) -> None:
        self._study.enqueue_trial({}, user_attrs={METHOD: pilot[0], EPOCHS: pilot[1]})

    def _counts(self, trial: Any) -> bool:
        return trial.state != self._states.FAIL or REASON in trial.user_attrs

    def _trials(self) -> list[Any]:
        return self._study.get_trials(deepcopy=False)

    def _claim(self, number: int) -> Path:
        return self._folder / "claims" / str(number)

    @staticmethod
    def _pilot(trial: Any) -> Pilot:
        return trial.user_attrs[METHOD], trial.user_attrs[EPOCHS]


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            f"recommend needs the package optuna, which cannot be imported ({error}): {INSTALL}"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna

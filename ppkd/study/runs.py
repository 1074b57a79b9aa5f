"""One training run of a study: its command lines, how far it is, and its figures."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ppkd.metrics.metric import FIGURES_FILE
from ppkd.utils import itself
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import ConfigError, TrainingError
from ppkd.utils.files import read_json
from ppkd.utils.runtime import THREADS

PLAN_FILE = "plan.json"
CONSOLE_FILE = "console.log"
SECONDS_FILE = "seconds.json"
_TAIL_LINES = 12


@dataclass(frozen=True)
class Run:
    """A detector that is trained, distilled when there is a ``slim`` file, and evaluated after its last epoch.

    Attributes:
        name: its folder below the study's.
        config: the detector's file.
        options: what ``-o`` adds, for the detector (``epoch=12``) and for the slim file (``slim.losses...``).
        slim: the distillation's file.
        weights: trained weights; such a detector is evaluated only.
        threads: how many the operators compute on; the environment's number if not given.
        after: name of the run from whose last checkpoint it goes on, with more epochs.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    slim: str | None = None
    weights: str | None = None
    threads: int | None = None
    after: str | None = None

    def final(self, folder: Path) -> str:
        """Its trained weights once it is finished, in a study at ``folder``."""
        return self.weights or str(folder / self.name / "model_final")

    def commands(self, folder: Path) -> list[list[str]]:
        """The command lines that are left to do: training, from its newest checkpoint if there is one; evaluation."""
        left = []
        if self.weights is None and not self._trained(folder):
            left.append(self._train(folder))
        left.append(self._evaluate(folder))
        return left

    def figures(self, folder: Path) -> dict[str, float] | None:
        """Figures of merit in 0..1 of the finished run, ``None`` while it is not finished.

        Raises :class:`ConfigError` when the folder holds another run than this one.
        """
        self._check_plan(folder)
        file = folder / self.name / FIGURES_FILE
        return _read(file) if file.is_file() else None

    def perform(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        """Run what is left of it, with ``environment`` added to this process's; output goes to ``console.log``.

        Raises :class:`TrainingError` with the last lines of that output when a command fails.
        """
        self._check_plan(folder)
        with atomic_open(folder / self.name / PLAN_FILE) as stream:
            stream.write(json.dumps(asdict(self), indent=2).encode())
        own = {} if self.threads is None else {THREADS: str(self.threads)}
        variables = itself.environment({**(environment or {}), **own})
        with self._timed(folder):
            for command in self.commands(folder):
                with (folder / self.name / CONSOLE_FILE).open("ab") as console:
                    done = subprocess.run(command, stdout=console, stderr=subprocess.STDOUT, env=variables)
                if done.returncode:
                    raise TrainingError(f"{self.name} ended with {done.returncode}:\n{self._tail(folder)}")

    def seconds(self, folder: Path) -> float:
        """How long it has computed so far, attempts that were broken off included."""
        file = folder / self.name / SECONDS_FILE
        return float(_read(file).get("seconds", 0.0)) if file.is_file() else 0.0

    @contextmanager
    def _timed(self, folder: Path) -> Iterator[None]:
        """Add the duration of the block, however it ends."""
        before, started = self.seconds(folder), time.perf_counter()
        try:
            yield
        finally:
            with atomic_open(folder / self.name / SECONDS_FILE) as stream:
                stream.write(json.dumps({"seconds": round(before + time.perf_counter() - started, 1)}).encode())

    def _train(self, folder: Path) -> list[str]:
        command = itself.command_line("train", "-c", self.config)
        if self.slim is not None:
            command += ["--slim_config", self.slim]
        begun = [name for name in (self.name, self.after) if name and any((folder / name).glob("*.pdstates"))]
        command += ["-r", str(folder / begun[0])] if begun else ["--overwrite"]
        return [*command, "-o", f"save_dir={folder}", f"filename={self.name}", *self.options]

    def _evaluate(self, folder: Path) -> list[str]:
        own = [option for option in self.options if not option.startswith("slim.")]
        output = ["--output_eval", str(folder / self.name)]
        command = itself.command_line("eval", "-c", self.config, *output)
        return [*command, "-o", *own, f"weights={self.final(folder)}"]

    def _trained(self, folder: Path) -> bool:
        from ppkd.engine.checkpoint_files import fault

        return fault(folder / self.name / "model_final") is None

    def _check_plan(self, folder: Path) -> None:
        file = folder / self.name / PLAN_FILE
        if not file.is_file():
            return
        before, now = _read(file), json.loads(json.dumps(asdict(self)))
        changed = [f"{key} was {before.get(key)}, is {now[key]}" for key in now if before.get(key) != now[key]]
        if changed:
            raise ConfigError(
                f"{folder / self.name} holds another run: {'; '.join(changed)}. Remove that folder to train anew, or "
                "give the study another output."
            )

    def _tail(self, folder: Path) -> str:
        file = folder / self.name / CONSOLE_FILE
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join([*lines[-_TAIL_LINES:], f"(all of it: {file})"])


def _read(file: Path) -> dict[str, Any]:
    """What a run wrote; raises :class:`ConfigError` for anything else."""
    try:
        content = read_json(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: damaged ({error}); remove that run's folder to train anew") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: damaged, it holds no mapping; remove that run's folder to train anew")
    return content


def distilled(run: Run, slim: str, options: Sequence[str], teacher: Run, folder: Path) -> Run:
    """``run`` with the distillation of the file ``slim`` and the finished ``teacher``; ``options`` are added last."""
    of_teacher = (f"slim.teacher.config={teacher.config}", f"slim.teacher.weights={teacher.final(folder)}")
    return replace(run, options=(*run.options, *of_teacher, *options), slim=slim)

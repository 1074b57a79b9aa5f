"""``--profiler_options``: Paddle's profiler over a range of steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paddle

from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook, TrainingRun
from ppkd.utils.errors import ConfigError, nearest
from ppkd.utils.logger import get_logger

KEYS = ("batch_range", "profile_path", "state", "tracer_option")
STATES = ("CPU", "GPU", "All")

logger = get_logger(__name__)


@dataclass(frozen=True)
class ProfilerOptions:
    """Steps ``first`` to ``last`` of this process are profiled; the trace is written below ``path``."""

    first: int = 10
    last: int = 20
    path: str = "model.profile"
    state: str = "All"


def parse_options(text: str) -> ProfilerOptions:
    """``batch_range=[10,20];profile_path=model.profile;state=GPU``; PaddleDetection's ``tracer_option`` is accepted.

    Raises :class:`ConfigError` naming the part that is wrong.
    """
    given: dict[str, str] = {}
    for part in filter(None, text.replace(" ", "").split(";")):
        key, _, value = part.partition("=")
        if key not in KEYS or not value:
            raise ConfigError(f"--profiler_options: '{part}'{nearest(key, KEYS)}; expected {'=...;'.join(KEYS)}=...")
        given[key] = value
    defaults = ProfilerOptions()
    first, last = _range(given.get("batch_range", f"[{defaults.first},{defaults.last}]"))
    state = given.get("state", defaults.state)
    if state not in STATES:
        raise ConfigError(f"--profiler_options: state={state}, expected one of {', '.join(STATES)}")
    if "tracer_option" in given:
        logger.info("profiler_options: tracer_option has no effect in Paddle 3")
    return ProfilerOptions(first, last, given.get("profile_path", defaults.path), state)


def _range(text: str) -> tuple[int, int]:
    parts = text.strip("[]").split(",")
    if len(parts) != 2 or not all(part.isdigit() for part in parts) or int(parts[0]) >= int(parts[1]):
        raise ConfigError(f"--profiler_options: batch_range={text}, expected e.g. [10,20]")
    return int(parts[0]), int(parts[1])


class Profiler(Hook):
    """Profiles the steps of ``options`` and writes a Chrome trace."""

    def __init__(self, options: ProfilerOptions) -> None:
        self._options = options
        self._profiler: Any = None
        self._done = 0

    def before_train(self, run: TrainingRun) -> None:
        """Start the profiler, which waits for its range."""
        from paddle.profiler import Profiler as PaddleProfiler
        from paddle.profiler import ProfilerTarget, export_chrome_tracing

        kinds = {"CPU": [ProfilerTarget.CPU], "GPU": [ProfilerTarget.GPU]}
        targets = kinds.get(self._options.state, [ProfilerTarget.CPU, ProfilerTarget.GPU])
        if not paddle.is_compiled_with_cuda():
            targets = kinds["CPU"]
        self._profiler = PaddleProfiler(
            targets=targets,
            scheduler=(self._options.first, self._options.last),
            on_trace_ready=export_chrome_tracing(self._options.path),
        )
        self._profiler.start()

    def after_step(self, run: TrainingRun, step: Step) -> None:
        """Tell the profiler; stop it after its range."""
        self._done += 1
        if self._profiler is None:
            return
        self._profiler.step()
        if self._done == self._options.last:
            self._finish()

    def close(self, run: TrainingRun) -> None:
        """Stop the profiler of a run that was shorter than its range."""
        if self._profiler is not None:
            self._finish()

    def _finish(self) -> None:
        self._profiler.stop()
        self._profiler = None
        logger.info("Profile of steps %d to %d: %s", self._options.first, self._done, Path(self._options.path))

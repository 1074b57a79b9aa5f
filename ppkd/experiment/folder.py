"""The folder of a run: whether it is free, and the configurations that are written to it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ppkd.config import Config
from ppkd.config.write import to_yaml
from ppkd.engine.checkpoint_files import SUFFIXES
from ppkd.engine.hooks.results import FILE_NAME as RESULTS
from ppkd.experiment.experiment import Experiment
from ppkd.experiment.options import PathLike
from ppkd.metrics.metric import FIGURES_FILE
from ppkd.utils import processes
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import ConfigError

CONFIG, SLIM = "config.yml", "slim.yml"
TRACES = (CONFIG, SLIM, RESULTS)
REMEDY = "go on with it by -r {folder}, replace it by --overwrite, or name this one with -o filename=..."


@dataclass(frozen=True)
class RunFolder:
    """Where a run's files go; ``remark`` says why that is not the folder of its name."""

    path: Path
    remark: str = ""


def choose(experiment: Experiment) -> RunFolder:
    """The folder of the run.

    A resumed run goes on in the folder of its checkpoint, unless ``filename`` is set. A new run never joins another
    one: a folder with a default name is numbered. One with a name that somebody chose is refused, because whoever
    chose it expects the results there. A log alone is no run: it is of an attempt that never began to train, and a
    dry run writes no more than that.

    Raises :class:`ConfigError` for a folder that was named and has another run.
    """
    options, wanted = experiment.options, experiment.folder
    if options.resume is not None:
        checkpoint = Path(options.resume).expanduser()
        folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
        return RunFolder(wanted if experiment.was_named or not folder.is_dir() else folder)
    if options.overwrite or options.dry_run or not used(wanted):
        return RunFolder(wanted)
    if experiment.was_named:
        raise ConfigError(f"{wanted} has another run: {REMEDY.format(folder=wanted)}")
    numbered = (wanted.with_name(f"{wanted.name}_{number}") for number in count(2))
    free = next(folder for folder in numbered if not used(folder))
    return RunFolder(free, f"{wanted} has another run, so this one goes to {free} ({REMEDY.format(folder=wanted)})")


@dataclass(frozen=True)
class Begun:
    """A run that is there: its folder, its configurations, and whether its checkpoints were evaluated."""

    folder: Path
    config: Path
    slim: Path | None
    evaluated: bool


def begun(checkpoint: PathLike) -> Begun:
    """The run that ``checkpoint``, its folder or a checkpoint in it, belongs to.

    Raises :class:`ConfigError` for a folder without the configuration that every run writes.
    """
    given = Path(checkpoint).expanduser()
    folder = given if given.is_dir() else given.parent
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"-r {checkpoint}: {folder} has no {CONFIG}, so it is no run's folder: say -c CONFIG too")
    slim = folder / SLIM
    return Begun(folder, folder / CONFIG, slim if slim.is_file() else None, (folder / FIGURES_FILE).is_file())


def used(folder: Path) -> bool:
    """Whether ``folder`` has traces of a run that began to train."""
    return any((folder / name).is_file() for name in TRACES) or bool(_checkpoints(folder))


def claim(experiment: Experiment) -> None:
    """Write the resolved configurations to the run's folder, as the first process, when training is about to begin.

    With ``overwrite`` the files of the run before go. Raises :class:`ConfigError` when another run took the folder
    since it was chosen.
    """
    options, folder = experiment.options, experiment.folder
    if not processes.is_first():
        return
    if options.resume is None and options.overwrite:
        for file in (*_checkpoints(folder), *(folder / name for name in TRACES)):
            file.unlink(missing_ok=True)
    elif options.resume is None and used(folder):
        raise ConfigError(f"{folder}: another run began there meanwhile; start this one again")
    _write(folder / CONFIG, experiment.config)
    if experiment.slim is not None:
        _write(folder / SLIM, experiment.slim.config)


def _write(file: Path, cfg: Config) -> None:
    with atomic_open(file) as stream:
        stream.write(to_yaml(cfg).encode())


def _checkpoints(folder: Path) -> list[Path]:
    return [file for suffix in SUFFIXES for file in folder.glob(f"*{suffix}")]

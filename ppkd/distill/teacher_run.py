"""A teacher that is named by the folder of the run that trained it: ``teacher: output/my_teacher``."""

from __future__ import annotations

from pathlib import Path

from ppkd.config import Config, load_config
from ppkd.config.value import LocatedError, Mark
from ppkd.engine.checkpoint_files import WEIGHTS, file_of, newest_complete

CONFIG = "config.yml"
PREFERRED = ("best_model", "model_final")


def with_teacher_runs(slim: Config) -> Config:
    """``slim`` with the configurations and weights of teachers of which it names the folder of a run.

    Raises :class:`ConfigError` for a folder that doesn't exist or isn't one of a finished run.
    """
    slim = _with_run(slim, "teacher", slim)
    several = slim.get("teachers")
    if not isinstance(several, Config):
        return slim
    for name in several:
        several = _with_run(several, name, slim)
    return slim.with_item("teachers", several, slim.mark("teachers"))


def _with_run(block: Config, key: str, slim: Config) -> Config:
    """``block``, a part of ``slim``, with the settings of the run that ``key`` names in it, if it does."""
    named = block.get(key)
    if not isinstance(named, str):
        return block
    mark = block.mark(key)
    return block.with_item(key, teacher_block(_find(named, slim, mark), mark), mark)


def teacher_block(folder: Path, mark: Mark) -> Config:
    """``config`` (resolved, as the run used it) and ``weights`` of the run in ``folder``; ``mark`` is who names it.

    The weights are ``best_model``, without an evaluation ``model_final``, else the newest complete checkpoint.
    Raises :class:`ConfigError` when the folder lacks one of the two.
    """
    file = folder / CONFIG
    if not file.is_file():
        raise LocatedError(
            mark,
            f"teacher: {folder} has no {CONFIG}, so it is no run's folder (or one of an older version): give "
            "teacher.config and teacher.weights instead",
        )
    weights = run_weights(folder)
    if weights is None:
        raise LocatedError(
            mark, f"teacher: {folder} has no complete checkpoint yet: train it to the end of an epoch first"
        )
    values = {"config": load_config(file), "weights": str(weights)}
    return Config(values, dict.fromkeys(values, mark), mark)


def run_weights(folder: Path) -> Path | None:
    """``best_model`` of a run, without an evaluation ``model_final``, else its newest complete checkpoint, if any."""
    for name in PREFERRED:
        if file_of(folder / name, WEIGHTS).is_file():
            return folder / name
    return newest_complete(folder)


def _find(named: str, slim: Config, mark: Mark) -> Path:
    """``named`` from the current folder, else from the slim file's folder or one above it."""
    given = Path(named).expanduser()
    for place in (Path.cwd(), *Path(slim.path).resolve().parents):
        if (place / given).is_dir():
            return given if place == Path.cwd() else place / given
    raise LocatedError(
        mark, f"teacher: there is no folder {named}: give a run's folder, or a mapping with config and weights"
    )

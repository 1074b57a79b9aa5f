"""Writers of scalars for TensorBoard, Weights & Biases and MLflow: their own packages, which few runs need."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from ppkd.utils.errors import ConfigError


class ScalarWriter(Protocol):
    """What VisualDL's and TensorBoard's writers have in common."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """One point of the curve ``tag``."""

    def close(self) -> None:
        """Write what waits."""


class _WandB:
    """Weights & Biases: WANDB_PROJECT, WANDB_MODE and so on are read by its package."""

    def __init__(self, wandb: Any, folder: Path) -> None:
        self._run = wandb.init(name=folder.name, dir=str(folder))

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        # Its own step may not go back, which steps and epochs together do.
        self._run.log({tag: value, f"{tag}/step": step})

    def close(self) -> None:
        self._run.finish()


class _MLflow:
    """MLflow: MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME are read by its package."""

    def __init__(self, mlflow: Any, folder: Path) -> None:
        self._mlflow = mlflow
        mlflow.start_run(run_name=folder.name)

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        self._mlflow.log_metric(tag, value, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


def _tensorboard(package: Any, folder: Path) -> ScalarWriter:
    writer: ScalarWriter = package.SummaryWriter(str(folder / "tensorboard"))
    return writer


TRACKERS: dict[str, tuple[str, Callable[[Any, Path], ScalarWriter]]] = {
    "tensorboard": ("tensorboardX", _tensorboard),
    "wandb": ("wandb", _WandB),
    "mlflow": ("mlflow", _MLflow),
}
"""By the names of the flags ``--use_...``: the package, and what makes a writer of it and the run's folder."""


def open_tracker(name: str, folder: Path) -> ScalarWriter:
    """The writer of that name for the run in ``folder``; raises :class:`ConfigError` without its package."""
    package, made = TRACKERS[name]
    try:
        return made(import_module(package), folder)
    except ImportError as error:
        raise ConfigError(
            f"--use_{name} needs the package {package}, which cannot be imported ({error}): pip install {package}"
        ) from error

"""Saving and resuming a run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from paddle import Tensor

from ppkd.engine import random_state
from ppkd.engine.checkpoint_files import (
    OPTIMIZER,
    STATES,
    WEIGHTS,
    file_of,
    resolve,
    sweep,
    write_set,
    write_states,
)
from ppkd.engine.optimizer_state import export_state, import_state
from ppkd.engine.position import Position
from ppkd.engine.protocols import Trainable
from ppkd.engine.settings_record import changes
from ppkd.engine.update import Update
from ppkd.utils import processes, runtime
from ppkd.utils.errors import TrainingError, WeightsError
from ppkd.utils.logger import get_logger
from ppkd.utils.serialization import read_pickle, read_weights

FORMAT = 2

logger = get_logger(__name__)


@dataclass(frozen=True)
class Identity:
    """What a checkpoint was trained with, compared when it is resumed."""

    class_names: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=runtime.current)


class Checkpointer:
    """Writes and reads the checkpoints of one run below ``folder``.

    ``.pdparams`` holds the plain student, averaged when there is an ``ema``; the student's own weights, the adapters
    of a distillation model, the average, the random streams and the position are in ``.pdstates``.
    """

    def __init__(self, folder: Path, update: Update, *, identity: Identity | None = None) -> None:
        self.folder = folder
        self._model = update.model
        self._optimizer = update.optimizer
        self._ema = update.ema
        self._precision = update.precision
        self._identity = identity or Identity()
        self._teachers = dict(update.model.fingerprints())

    def save(self, name: str, position: Position, losses: Mapping[str, Any]) -> Path:
        """Write ``{folder}/{name}.*`` and return the path without extension.

        Raises :class:`TrainingError`, before any file is touched, when a weight is not finite.
        """
        student = _arrays(self._student())
        _refuse_broken({**student, **_arrays(_adapters(self._model))}, name)
        weights = student if self._ema is None else self._ema.weights()
        stem = self.folder / name
        streams = processes.gather(random_state.capture())
        if not processes.is_first():
            return stem
        optimizer = export_state(self._optimizer, self._trained())
        write_set(stem, weights, optimizer, self._states(position, losses, streams))
        logger.info("Saved checkpoint: %s", stem)
        return stem

    def save_states(self, name: str, position: Position, losses: Mapping[str, Any]) -> None:
        """Write ``.pdstates`` of a checkpoint again, when nothing but the position (its best AP) has changed."""
        streams = processes.gather(random_state.capture())
        if processes.is_first():
            write_states(self.folder / name, self._states(position, losses, streams))

    def restore(self, path: str | os.PathLike[str], *, force: bool = False) -> tuple[Position, Mapping[str, Any]]:
        """Load the checkpoint that ``path`` means; returns the position and the state of the loss means.

        Raises:
            WeightsError: it is missing, incomplete, or of another model.
            TrainingError: it was trained with another teacher, other settings (unless ``force``), other classes or
                another ``use_ema``.
        """
        stem = resolve(path)
        states = read_pickle(file_of(stem, STATES))
        self._compare(stem, states, force)
        weights = read_weights(file_of(stem, WEIGHTS)) if self._ema is None else states["student"]
        _assign(self._student(), weights, stem)
        _assign(_adapters(self._model), states["adapters"], stem)
        import_state(self._optimizer, self._trained(), read_pickle(file_of(stem, OPTIMIZER)))
        if self._ema is not None:
            self._ema.restore(states["ema"])
        self._precision.restore(states["precision"])
        self._restore_streams(states["random"])
        if processes.is_first():
            sweep(stem.parent)
        position = Position(**states["position"])
        logger.info("Resumed from %s: epoch %d, batch %d, step %d", stem, position.epoch, position.batch, position.step)
        return position, states["losses"]

    @staticmethod
    def _restore_streams(streams: Sequence[Any]) -> None:
        """Each process goes on with its own; one that was not there keeps those it began with."""
        if processes.rank() < len(streams):
            random_state.restore(streams[processes.rank()])

    def _student(self) -> dict[str, Tensor]:
        return dict(self._model.deployable().state_dict())

    def _trained(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self._model.named_parameters() if not tensor.stop_gradient}

    def _states(self, position: Position, losses: Mapping[str, Any], streams: Sequence[Any]) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "position": asdict(position),
            "losses": losses,
            "adapters": _arrays(_adapters(self._model)),
            "student": {} if self._ema is None else _arrays(self._student()),
            "ema": None if self._ema is None else self._ema.state(),
            "precision": self._precision.state(),
            "random": streams,
            "teachers": self._teachers,
            "class_names": list(self._identity.class_names),
            "settings": dict(self._identity.settings),
            "environment": dict(self._identity.environment),
        }

    def _compare(self, stem: Path, states: Mapping[str, Any], force: bool) -> None:
        if states["format"] != FORMAT:
            raise WeightsError(f"{stem}{STATES}: format {states['format']}, this version of ppkd reads format {FORMAT}")
        changed = self._changes(states)
        if changed and not force:
            raise TrainingError(
                f"{stem}: it was not trained like this; {'; '.join(changed)}. Make these as they were, start a new run "
                "with pretrain_weights, or go on all the same with --force."
            )
        for change in changed:
            logger.warning("Forced to go on from %s, although %s", stem, change)
        if tuple(states["class_names"]) != tuple(self._identity.class_names):
            raise TrainingError(f"{stem}: its classes are {states['class_names']}, now {self._identity.class_names}")
        if (states["ema"] is None) != (self._ema is None):
            raise TrainingError(
                f"{stem}: it was trained with use_ema={states['ema'] is not None}; set use_ema the same"
            )
        for name, value in self._identity.environment.items():
            if states["environment"].get(name) != value:
                was = states["environment"].get(name)
                logger.warning("%s was %s, now %s: results will differ in the last bits", name, was, value)

    def _changes(self, states: Mapping[str, Any]) -> list[str]:
        """What teacher and settings were and are, where they differ."""
        found = []
        for name, now in self._teachers.items():
            before = states["teachers"].get(name, "none")
            if now != before:
                found.append(f"another {name} taught it (fingerprint {before[:12]}, now {now[:12]})")
        return found + changes(states["settings"], self._identity.settings)


def load_adapters(model: Trainable, path: str | os.PathLike[str]) -> None:
    """Give what ``model`` trains besides its student the values of the checkpoint that ``path`` means.

    Raises :class:`WeightsError` when it is missing, or of another model.
    """
    stem = resolve(path)
    _assign(_adapters(model), read_pickle(file_of(stem, STATES))["adapters"], stem)


def _adapters(model: Trainable) -> dict[str, Tensor]:
    inside = {id(tensor) for tensor in model.deployable().state_dict().values()}
    return {name: tensor for name, tensor in model.state_dict().items() if id(tensor) not in inside}


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _refuse_broken(arrays: Mapping[str, np.ndarray], name: str) -> None:
    for key, array in arrays.items():
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            raise TrainingError(
                f"{key} has values that are not finite, so '{name}' was not written. Resume from the last checkpoint "
                "with a smaller LearningRate.base_lr or OptimizerBuilder.clip_grad_by_norm."
            )


def _assign(tensors: Mapping[str, Tensor], arrays: Mapping[str, np.ndarray], stem: Path) -> None:
    """Copy ``arrays`` into ``tensors``; raises :class:`WeightsError` unless names and shapes are the same."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    given = {name: tuple(array.shape) for name, array in arrays.items()}
    if shapes != given:
        differing = sorted({name for name, _ in shapes.items() ^ given.items()})
        raise WeightsError(f"{stem}: of another model, {len(differing)} names or shapes differ, first {differing[0]}")
    for name, tensor in tensors.items():
        tensor.set_value(arrays[name])

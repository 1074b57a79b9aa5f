"""What the trainer asks of models and loaders; detectors and distillation models both fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from paddle import Tensor, nn

from ppkd.data.training_set import TrainingSet
from ppkd.structures import Batch


class Trainable(Protocol):
    """A model whose call returns ``{"loss": total, term: scalar}`` and that knows what is shipped."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The training step's losses."""

    def deployable(self) -> nn.Layer:
        """The bare detector."""

    def set_progress(self, epoch: float, step: int) -> None:
        """Tell before each update where training is: 1.5 is the middle of the second epoch, ``step`` counts updates."""

    def due(self, epoch: int) -> bool:
        """Whether ``epoch`` begins with :meth:`prepare`."""

    def prepare(self, epoch: int, images: TrainingSet) -> None:
        """Make from the training set what the losses need; what is to survive a resume becomes part of the state."""

    def fingerprints(self) -> Mapping[str, str]:
        """The hashes of the frozen models it learns from, by their names; a resumed run must have the same."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Weights and buffers by name."""

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name."""

    def train(self) -> None:
        """Training mode."""


@runtime_checkable
class LosesImages(Protocol):
    """A loader whose batches go without the images that cannot be read."""

    lost: list[int]


class BatchLoader(Protocol):
    """The batches of one epoch after another."""

    def __len__(self) -> int:
        """Batches per epoch."""

    def __iter__(self) -> Iterator[Any]:
        """The rest of the present epoch."""

    def start(self, epoch: int, batch: int = 0) -> None:
        """Make ``epoch`` the present one, without its first ``batch`` batches."""

"""What the trainer asks of models and loaders; detectors and distillation models both fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol, runtime_checkable

from paddle import Tensor, nn

from ppkd.distill.preparation import TrainingSet
from ppkd.structures import Batch


@runtime_checkable
class TrainableModel(Protocol):
    """A model whose call returns ``{"loss": total, term: scalar}`` and that knows what is shipped."""

    def __call__(self, batch: Batch) -> dict[str, Tensor]:
        """The training step's losses."""

    def deployable(self) -> nn.Layer:
        """The bare detector."""

    def state_dict(self) -> Mapping[str, Tensor]:
        """Weights and buffers by name."""

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Parameters by name."""

    def train(self) -> None:
        """Training mode."""


@runtime_checkable
class TracksProgress(Protocol):
    """A model whose losses are scheduled over the epochs."""

    def set_progress(self, epoch: float) -> None:
        """Tell where training is; 1.5 is the middle of the second epoch."""


@runtime_checkable
class Prepares(Protocol):
    """A model with losses that need something made from the training set before an epoch."""

    def due(self, epoch: int) -> bool:
        """Whether ``epoch`` begins with :meth:`prepare`."""

    def prepare(self, epoch: int, images: TrainingSet) -> None:
        """Make it; what is to survive a resume becomes part of the model's state."""


@runtime_checkable
class FrozenParts(Protocol):
    """A model that holds frozen teachers."""

    def fingerprints(self) -> Mapping[str, str]:
        """The hash of each."""


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

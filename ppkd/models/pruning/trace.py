"""Which channels of a detector belong together, read from the program that Paddle traces of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from ppkd.models.detectors.detector import Detector
from ppkd.models.modes import evaluation_mode
from ppkd.models.pruning.labels import Labels
from ppkd.models.pruning.rules import RULES, kept
from ppkd.models.pruning.walk import Axis, Walk
from ppkd.structures import Record
from ppkd.utils.errors import ConfigError

SIDE = 64
FREE = "neck"
"""The entry of a record whose channels may go: the head adapts, and so do a loss's adapters."""


@dataclass(frozen=True)
class Channels:
    """The labels along every axis of parameters and buffers that carries channels.

    Equal labels go together, :data:`~ppkd.models.pruning.labels.FIXED` ones not at all.
    """

    axes: Mapping[Axis, Labels]


class Recorded(nn.Layer):
    """A detector as a function of its image: the maps of its neck, and everything else that it records."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Tensors of ``image`` [1, 3, H, W]."""
        return split_record(self.detector.extract({"image": image}))


@paddle.jit.not_to_static
def split_record(record: Record) -> tuple[list[Tensor], list[Tensor]]:
    """The maps of the neck, and all other tensors."""
    others = [tensor for name in record.tensors if name != FREE for tensor in record[name]]
    return list(record[FREE]), others


def trace(detector: Detector) -> Channels:
    """The channels of ``detector`` in evaluation mode; its weights, buffers and modes stay as they are.

    Raises :class:`ConfigError` for a detector of masks, whose head is no part of what it records.
    """
    if detector.reads_masks:
        raise ConfigError(f"{type(detector).__name__} is not pruned: its masks are not traced; prune a FasterRCNN")
    concrete = program_of(detector)
    walk = Walk({tensor.name: name for name, tensor in detector.state_dict().items()})
    for op in concrete.main_program.global_block().ops:
        rule = RULES.get(op.name().removeprefix("pd_op."), kept)
        if op.name() in ("builtin.parameter", "builtin.combine"):
            continue
        for value, labels in zip(op.results(), rule(walk, op)):  # noqa: B905 - an operation may have unused results
            walk.give(value, labels)
    _, others = concrete.outputs
    for value in others:
        walk.ties.fix(walk.labels(value))
    return Channels({axis: walk.ties.roots(labels) for axis, labels in walk.axes.items()})


def program_of(detector: Detector) -> Any:
    """What Paddle traces of ``detector`` as :class:`Recorded`, in evaluation mode: ``main_program`` and ``outputs``."""
    with evaluation_mode(detector):
        recorded = Recorded(detector)
        recorded.eval()
        spec = InputSpec([1, 3, SIDE, SIDE], "float32", name="image")
        static = paddle.jit.to_static(recorded, input_spec=[spec], full_graph=True)
        return static.forward.concrete_program

"""Which tensors of an ONNX graph can be entries of a teacher's record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppkd.distill.graphs.graph import Graph, load_graph, tensor_names
from ppkd.structures import DetectorSpec

STRIDES = (2, 4, 8, 16, 32, 64, 128)
SIDES = (256, 384)
"""Height and width of the blank image where the graph takes any."""
LEAST_LEVELS = 2
Proposal = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True)
class Candidate:
    """A tensor for a blank image: its ``shape`` [N, ..., H, W] and its ``stride``, None where it lies on no grid."""

    name: str
    shape: tuple[int, ...]
    stride: int | None
    output: bool

    @property
    def channels(self) -> int:
        """The numbers of a cell, of all anchors together."""
        return int(np.prod(self.shape[1:-2]))


def candidates(file: Path, *, inside: bool = False) -> list[Candidate]:
    """The graph's outputs; with ``inside`` also what lies on a grid before them, in the graph's order.

    Raises what :class:`Graph` raises.
    """
    model = load_graph(file)
    outputs = [output.name for output in model.graph.output]
    names = [*(name for name in tensor_names(model.graph) if inside and name not in outputs), *outputs]
    graph = Graph(file, names)
    height, width = (own or given for own, given in zip(graph.size, SIDES, strict=True))
    shapes = [array.shape for array in graph(np.zeros((graph.batch or 1, 3, height, width), np.float32))]
    found = [
        Candidate(name, shape, _stride(shape, height, width), name in outputs)
        for name, shape in zip(names, shapes, strict=True)
    ]
    return [one for one in found if one.output or one.stride is not None]


def propose(found: Sequence[Candidate], student: DetectorSpec | None = None) -> Proposal:
    """Entries made of outputs with equally many channels at two strides or more.

    They are those of ``student`` that have as many channels, each the first one that fits; the neck is the one with the
    most channels of what is left.
    """
    families = {channels: levels for channels, levels in _families(found).items() if len(levels) >= LEAST_LEVELS}
    entries: dict[str, dict[int, str]] = {}
    for name, entry in {} if student is None else student.entries.items():
        level = entry.levels[0]
        if entry.kind == "grid" and entry.role != "feature" and level.channels * level.anchors in families:
            entries[name] = families.pop(level.channels * level.anchors)
    return {"neck": families[max(families)], **entries} if families else entries


def _families(found: Sequence[Candidate]) -> dict[int, dict[int, str]]:
    """The outputs on grids by channels and stride; where several have both, the last one."""
    families: dict[int, dict[int, str]] = {}
    for one in sorted((one for one in found if one.output), key=lambda one: one.stride or 0):
        if one.stride is not None:
            families.setdefault(one.channels, {})[one.stride] = one.name
    return families


def _stride(shape: tuple[int, ...], height: int, width: int) -> int | None:
    if len(shape) not in (4, 5):
        return None
    for stride in STRIDES:
        if shape[-2:] in ((height // stride, width // stride), (-(-height // stride), -(-width // stride))):
            return stride
    return None

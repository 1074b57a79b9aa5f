"""A teacher that is an ONNX graph, whatever framework trained it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from typing import Any, Self

import numpy as np
import paddle
from numpy.typing import NDArray
from paddle import Tensor

from ppkd.distill.graphs.graph import Graph
from ppkd.structures import Abilities, Batch, DetectorSpec, Entry, LevelSpec, Record, scores
from ppkd.utils.errors import SpecError
from ppkd.utils.serialization import digest

Images = Callable[[Batch], Tensor]
Named = Mapping[str, Mapping[int, str]]
"""The names of tensors by entry and stride."""
LEAST_SIDE = 64


class GraphTeacher:
    """Records what an ONNX graph computes, without gradients.

    An entry means what the student's entry of that name means: its role, activation and coding. A head's tensor is
    [N, A, K, H, W], or [N, A * K, H, W] with the numbers of an anchor one after the other; the student has as many
    anchors.

    Args:
        graph: its tensors are those of ``entries``, one entry after the other, finest first.
        entries: what these tensors are.
        student: what the student records.
        images: makes the graph's input float32 [N, 3, H, W] of a batch.
        class_names: what its classes are called, where that is known.

    Raises:
        SpecError: the student records no entry of a name, or one with other channels; a tensor is not
            of its stride.
    """

    def __init__(
        self,
        graph: Graph,
        entries: Named,
        student: DetectorSpec,
        images: Images,
        *,
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.class_names = class_names
        self._graph, self._images = graph, images
        levels = _probe(graph, entries)
        found = {name: _entry(name, student, levels[name], graph) for name in entries}
        classes = [entry for entry in found.values() if entry.role == "class"]
        self._spec = DetectorSpec(graph.file.name, student.num_classes, found, frozenset({"scores"} if classes else ()))
        self._entries = set(found)

    def only(self, entries: Collection[str]) -> Self:
        """The same teacher with a record of ``entries`` alone."""
        thinned = copy(self)
        thinned._entries = self._entries & set(entries)
        return thinned

    def spec(self) -> DetectorSpec:
        """All its entries."""
        return self._spec

    def abilities(self) -> Abilities:
        """``scores`` where it records classes: all else needs more than a record."""
        return dict.fromkeys(self._spec.abilities, scores)

    def __call__(self, batch: Batch, like: Record | None = None) -> Record:
        """What the graph computes of ``batch``.

        Raises :class:`DataError` for images of a size, or a number, that the graph does not take.
        """
        with paddle.no_grad():
            images = self._images(batch).astype("float32").numpy()
        arrays = iter(self._graph(images))
        entries = self._spec.entries
        tensors = {
            name: [_level(next(arrays), entry, level) for level in entry.levels] for name, entry in entries.items()
        }
        return Record(self._spec, tensors).only(self._entries)

    def fingerprint(self) -> str:
        """SHA-256 of the file."""
        return digest(self._graph.file)


def _level(array: NDArray[Any], entry: Entry, level: LevelSpec) -> Tensor:
    """A tensor [N, C, H, W] of features, [N, A, K, H, W] of a head."""
    if entry.role != "feature":
        array = array.reshape(len(array), level.anchors, level.channels, *array.shape[-2:])
    return paddle.to_tensor(array.astype(np.float32, copy=False))


def _probe(graph: Graph, entries: Named) -> dict[str, dict[int, tuple[int, ...]]]:
    """The shapes of all tensors without batch, height and width, by entry and stride, for a blank image.

    Raises :class:`SpecError` for a tensor that is no grid, or of another stride.
    """
    side = max(LEAST_SIDE, 2 * max(stride for levels in entries.values() for stride in levels))
    # Sides of different lengths, so that a height and a width cannot be mistaken for each other.
    height, width = (own or given for own, given in zip(graph.size, (side, 3 * side // 2), strict=True))
    # Two images, so that a graph that was traced with one and does not say so is found out.
    count = graph.batch or 2
    arrays = iter(graph(np.zeros((count, 3, height, width), np.float32)))
    shapes: dict[str, dict[int, tuple[int, ...]]] = {}
    for name, levels in entries.items():
        shapes[name] = {}
        for stride, tensor in levels.items():
            shape = next(arrays).shape
            place = f"{graph.file}: {tensor}, named as entries.{name} of stride {stride}, is {list(shape)}"
            if len(shape) not in (4, 5) or shape[0] != count:
                raise SpecError(f"{place}, expected [{count}, C, H, W]: name a tensor before it is flattened")
            if not all(_lies_on(size, side, stride) for size, side in zip(shape[-2:], (height, width), strict=True)):
                near = round(height / shape[-2])
                raise SpecError(f"{place} for images of {height} x {width} pixels: its stride is about {near}")
            shapes[name][stride] = shape[1:-2]
    return shapes


def _lies_on(size: int, side: int, stride: int) -> bool:
    """Whether so many cells of ``stride`` make a ``side``; networks round either way where it is no multiple."""
    return size in (side // stride, -(-side // stride))


def _entry(name: str, student: DetectorSpec, shapes: Mapping[int, tuple[int, ...]], graph: Graph) -> Entry:
    """The entry ``name`` of ``student`` with the graph's levels."""
    if name not in student.entries:
        raise SpecError(
            f"{graph.file}: entries.{name}: {student.name} records no entry of that name, which would say what its "
            f"numbers are; it records {', '.join(student.entries)}"
        )
    own = student.entries[name]
    if own.kind != "grid":
        raise SpecError(f"{graph.file}: entries.{name}: {student.name} records rows there, a graph's entries are grids")
    by_stride = {level.stride: level for level in own.levels}
    levels = []
    for stride, shape in sorted(shapes.items()):
        like = by_stride.get(stride, own.levels[0])
        channels = int(np.prod(shape))
        if own.role == "feature":
            levels.append(LevelSpec(channels, stride))
            continue
        if shape not in ((like.anchors, like.channels), (like.anchors * like.channels,)):
            raise SpecError(
                f"{graph.file}: entries.{name} has {channels} channels at stride {stride}, but {student.name} has "
                f"{like.channels} x {like.anchors} anchors: both need the same classes, anchors and coding"
            )
        levels.append(LevelSpec(like.channels, stride, like.anchors))
    return Entry(own.role, "grid", tuple(levels), own.activation, own.coding)

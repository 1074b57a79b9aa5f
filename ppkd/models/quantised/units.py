"""Which convolutions of a detector are quantised, and with what they form one operation, read from Paddle's program.

They are those that an exported INT8 model quantises: what is computed of the picture by layers of convolutions. What
follows attention, pooling at proposals and decoding stays in float.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ppkd.models.detectors.detector import Detector
from ppkd.models.layers.rep_vgg import merged
from ppkd.models.pruning.trace import program_of

CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
NORMS = ("batch_norm_", "sync_batch_norm_")
RELU = "relu"
_BETWEEN = (
    *(RELU, "relu6", "leaky_relu", "silu", "swish", "mish", "sigmoid", "hardsigmoid", "hardswish"),
    *("group_norm", "add", "multiply", "maximum", "concat", "pool2d", "mean", "pixel_shuffle", "nearest_interp"),
    *("reshape", "squeeze", "unsqueeze", "clip"),
)
"""What may lie between convolutions."""


@dataclass(frozen=True)
class Unit:
    """A convolution with what is computed together with it.

    Attributes:
        conv: the layer's name; of a block whose branches are merged, that of the merged convolution.
        norm: the name of the batch normalisation behind it, if there is one.
        above_zero: whether nothing but ReLU reads the result, so that nothing below zero matters.
        source: the name of the range that is applied to its input; ``None`` where that is quantised already, being the
            result of other units.
    """

    conv: str
    norm: str | None
    above_zero: bool
    source: str | None

    @property
    def result(self) -> str:
        """The name of the range of its result."""
        return range_name(self.conv, "output")


def range_name(layer: str, what: str) -> str:
    """The name of a range of ``layer``, which can be a sublayer's."""
    return f"{layer.replace('.', '/')}/{what}"


@dataclass
class _Seen:
    """What the program does with one convolution, in all its calls."""

    inputs: list[int] = field(default_factory=list)
    norm: str | None = None
    readers: list[str] = field(default_factory=list)


class _Reader:
    """One pass over the operations; ``names``: what the detector calls the parameters that the program knows."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.seen: dict[str, _Seen] = {}
        self._names = names
        self._features: set[int] = set()
        self._results: dict[int, str] = {}
        self._rectified: dict[int, str] = {}

    def read(self, op: Any) -> None:
        """Follow one operation."""
        kind = op.name().removeprefix("pd_op.")
        if kind == "data":
            self._features |= {value.id for value in op.results() if value.get_defining_op().attrs()["name"] == "image"}
        operands = list(_operands(op))
        read = [value for value in operands if value.id in self._features]
        if not read:
            return
        conv = self._layer(operands[1], "weight") if kind in CONVOLUTIONS else None
        if conv is not None:
            self._convolve(conv, operands[0], op)
        elif self._completes(kind, operands, op):
            return
        elif kind in _BETWEEN:
            self._pass(kind, read, op)

    def settled(self, value: int, above_zero: Mapping[str, bool]) -> bool:
        """Whether the value of that number is what a unit gives, the ReLU in it included."""
        rectified = self._rectified.get(value)
        return value in self._results or (rectified is not None and above_zero[rectified])

    def _convolve(self, conv: str, image: Any, op: Any) -> None:
        seen = self.seen.setdefault(conv, _Seen())
        seen.inputs.append(image.id)
        self._note(image, CONVOLUTIONS[0])
        self._give(op, conv)

    def _completes(self, kind: str, operands: list[Any], op: Any) -> bool:
        """Whether ``op`` adds the bias of a convolution or normalises its result."""
        conv = self._results.get(operands[0].id)
        if conv is None:
            return False
        if kind == "add" and self._is_bias(operands[1], conv):
            self._give(op, conv)
            return True
        if kind in NORMS and not self.seen[conv].readers:
            self.seen[conv].norm = self._layer(operands[1], "_mean") or self._layer(operands[3], "weight")
            self._give(op, conv)
            return True
        return False

    def _pass(self, kind: str, read: list[Any], op: Any) -> None:
        self._features |= {value.id for value in op.results()}
        for value in read:
            self._note(value, kind)
        if kind == RELU and read[0].id in self._results:
            self._rectified[op.results()[0].id] = self._results[read[0].id]

    def _note(self, value: Any, kind: str) -> None:
        if value.id in self._results:
            self.seen[self._results[value.id]].readers.append(kind)

    def _give(self, op: Any, conv: str) -> None:
        value = op.results()[0]
        self._features.add(value.id)
        self._results[value.id] = conv

    def _is_bias(self, value: Any, conv: str) -> bool:
        op = value.get_defining_op()
        while op is not None and op.name() == "pd_op.reshape":
            value = op.operand_source(0)
            op = value.get_defining_op()
        return self._layer(value, "bias") == conv

    def _layer(self, value: Any, role: str) -> str | None:
        """The layer of which ``value`` is the parameter ``role``."""
        op = value.get_defining_op()
        if op is None or op.name() != "builtin.parameter":
            return None
        layer, _, own = self._names.get(op.attrs()["parameter_name"], "").rpartition(".")
        return layer if own == role else None


def _operands(op: Any) -> Iterator[Any]:
    """What ``op`` reads, the items of lists one by one."""
    for index in range(op.num_operands()):
        value = op.operand_source(index)
        made = None if value is None or not value.initialized() else value.get_defining_op()
        if made is not None and made.name() == "builtin.combine":
            yield from _operands(made)
        elif value is not None and value.initialized():
            yield value


def units(detector: Detector) -> tuple[Unit, ...]:
    """The units of ``detector`` with its branches merged, in the order in which they are computed."""
    shipped = merged(detector)
    reader = _Reader({tensor.name: name for name, tensor in shipped.state_dict().items()})
    for op in program_of(shipped).main_program.global_block().ops:
        reader.read(op)
    above_zero = {conv: {*seen.readers} == {RELU} for conv, seen in reader.seen.items()}
    sources: dict[tuple[int, ...], str] = {}
    found = []
    for conv, seen in reader.seen.items():
        source = None
        if not all(reader.settled(value, above_zero) for value in seen.inputs):
            # Convolutions of the same maps share a range, as they share the quantised numbers on a device.
            source = sources.setdefault(tuple(seen.inputs), range_name(conv, "input"))
        found.append(Unit(conv, seen.norm, above_zero[conv], source))
    return tuple(found)

"""An INT8 graph with the ranges that a student was trained with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import paddle
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from ppkd.engine.checkpoint_files import STATES, SUFFIXES, file_of
from ppkd.models.quantised.ranges import scale_of
from ppkd.models.quantised.units import Unit, units
from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import read_pickle

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector

Scale = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""The distance of two steps, and the step that is 0: scalars."""
_RANGES = "ranges."
"""Before the names of ranges in a checkpoint; see :class:`~ppkd.models.quantised.model.QuantisedModel`."""
LAYER, RELU = "Conv", "Relu"
_COPIED = re.compile(r"(_deepcopy_\d+|_token_\d+)+$")
"""Paddle's suffix of a copied parameter, and onnxruntime's of one that is folded for each of several uses."""
_FOLDED = "ConvBnFusion_W_"


@dataclass(frozen=True)
class Trained:
    """What quantisation-aware training has found.

    Attributes:
        units: what is quantised, by :func:`plain_name` of its weight.
        scales: of every range by name.
    """

    units: Mapping[str, Unit]
    scales: Mapping[str, Scale]

    @classmethod
    def of(cls, detector: Detector, weights: str) -> Trained:
        """The ranges of the run that saved ``weights``; ``detector`` has them, its branches merged.

        Raises :class:`WeightsError` unless the checkpoint's ``.pdstates`` lies beside them and has these ranges.
        """
        file = _states(weights)
        saved = read_pickle(file).get("adapters", {})
        names = {tensor.name: name for name, tensor in detector.state_dict().items()}
        layers = {name.removesuffix(".weight"): plain_name(own) for own, name in names.items()}
        found = units(detector)
        scales = {}
        for name in {each.result for each in found} | {each.source for each in found if each.source is not None}:
            low, high = (saved.get(f"{_RANGES}{name}.{end}") for end in ("low", "high"))
            if low is None or high is None:
                raise WeightsError(
                    f"{file}: no range {name}: these weights were not trained with 8-bit numbers, or are of another "
                    "detector. Train with slim: QAT, or quantise them as they are with slim/quant/ptq.yml"
                )
            scale, zero = scale_of(paddle.to_tensor(low), paddle.to_tensor(high))
            scales[name] = (scale.numpy().reshape(()), zero.numpy().astype(np.uint8).reshape(()))
        return cls({layers[each.conv]: each for each in found}, scales)


def _states(weights: str) -> Path:
    stem = Path(weights).expanduser()
    file = file_of(stem.with_suffix("") if stem.suffix in SUFFIXES else stem, STATES)
    if not file.is_file():
        raise WeightsError(f"{file}: not found; the ranges that {weights} was trained with are in that file beside it")
    return file


def plain_name(parameter: str) -> str:
    """Paddle's name of a parameter without what copies of it, and folding, put around it."""
    return _COPIED.sub("", parameter.removeprefix(_FOLDED))


def write_trained(prepared: ModelProto, trained: Trained, target: Path) -> tuple[str, ...]:
    """Write ``prepared`` with the units of ``trained`` quantised by their scales; returns the names of their nodes.

    Raises :class:`WeightsError` for a unit that the graph does not have.
    """
    graph = prepared.graph
    found = [(node, trained.units[name]) for node in graph.node if (name := _weight(node)) in trained.units]
    missing = {unit.conv for unit in trained.units.values()} - {unit.conv for _, unit in found}
    if missing:
        raise WeightsError(f"the ONNX model has no convolution {min(missing)}, which was trained with 8 bits")
    results = {tensor: unit.result for node, unit in found for tensor in _results(graph, node, unit)}
    sources = {_apart(graph, node, unit.source): unit.source for node, unit in found if unit.source is not None}
    nodes = [node.name for node, _ in found]
    relus = [node.name for node in graph.node if node.op_type == RELU and node.output[0] in results]
    tensors = {tensor: trained.scales[name] for tensor, name in {**results, **sources}.items()}
    onnx.save(_quantised(prepared, [*nodes, *relus], tensors), str(target))
    return tuple(nodes)


def _weight(node: NodeProto) -> str:
    return plain_name(node.input[1]) if node.op_type == LAYER else ""


def _results(graph: GraphProto, node: NodeProto, unit: Unit) -> list[str]:
    """What ``unit`` gives, whose convolution is ``node``: also behind the ReLU that becomes a part of it."""
    made = list(node.output)
    return made + [
        tensor for other in graph.node if unit.above_zero and made[0] in other.input for tensor in other.output
    ]


def _apart(graph: GraphProto, node: NodeProto, source: str) -> str:
    """The input of ``node`` under a name of its own, so that what else reads that tensor stays in float."""
    name = f"{node.input[0]}/{source}"
    if all(name not in other.output for other in graph.node):
        place = next(index for index, other in enumerate(graph.node) if other.name == node.name)
        graph.node.insert(place, helper.make_node("Identity", [node.input[0]], [name], name=name))
        stated = ValueInfoProto()
        stated.CopyFrom(next(one for one in (*graph.value_info, *graph.input) if one.name == node.input[0]))
        stated.name = name
        graph.value_info.append(stated)
    node.input[0] = name
    return name


def _quantised(model: ModelProto, nodes: list[str], tensors: Mapping[str, Scale]) -> ModelProto:
    """``model`` with ``nodes`` quantised: ``tensors`` as given, weights in each channel by its largest number."""
    overrides = {name: [{"scale": scale, "zero_point": zero}] for name, (scale, zero) in tensors.items()}
    nothing = np.float32(0), np.float32(1)
    quantiser = QDQQuantizer(
        model,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        # onnxruntime quantises the tensors that are named here; the overrides say how.
        tensors_range=TensorsData(CalibrationMethod.MinMax, dict.fromkeys(tensors, nothing)),
        nodes_to_quantize=nodes,
        nodes_to_exclude=[],
        op_types_to_quantize=[LAYER, RELU],
        extra_options={"TensorQuantOverrides": overrides},
    )
    quantiser.quantize_model()
    quantiser.model.topological_sort()
    return quantiser.model.model

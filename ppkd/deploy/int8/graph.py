"""The part of an ONNX graph that is quantised: from the picture to the outputs of the heads.

What follows them, decoding and suppression, stays in float, and so does the second stage of a two-stage detector.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnxruntime.quantization.shape_inference import quant_pre_process

LAYERS = ("Conv",)
JOINS = ("Add", "Concat", "MaxPool", "GlobalAveragePool", "AveragePool", "LeakyRelu")
FOLLOWERS = ("Relu", "Clip")
"""Parts of the layer before them."""
_FLOAT = (
    *("Mul", "Max", "Sigmoid", "HardSigmoid", "HardSwish", "InstanceNormalization", "ReduceMean"),
    *("Reshape", "Squeeze", "Unsqueeze", "DepthToSpace", "Resize"),
)
"""What may lie between layers and is not quantised."""
_MERGES = ("Add", "Mul", "Max", "Concat")
_ERRORS_ONLY = 3


@dataclass(frozen=True)
class Body:
    """The quantised part of a graph.

    Attributes:
        candidates: names of the nodes of which each may be left in float, in the graph's order.
        followers: names of activations that are quantised with the node before them.
        heads: names of the tensors that the heads give, in the graph's order.
    """

    candidates: tuple[str, ...]
    followers: tuple[str, ...]
    heads: tuple[str, ...]


def prepare(source: Path, target: Path) -> ModelProto:
    """Write to ``target`` what ``source`` becomes with normalisation folded and shapes inferred, and return it."""
    onnxruntime.set_default_logger_severity(_ERRORS_ONLY)
    quant_pre_process(str(source), str(target), skip_symbolic_shape=True)
    model = onnx.load(str(target))
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}.{number}"
    onnx.save(model, str(target))
    return model


def body(model: ModelProto) -> Body:
    """The body of ``model``, which :func:`prepare` returned."""
    features = _features(model)
    within, heads = _upstream(model, features)
    names: dict[tuple[str, ...], list[str]] = {(*LAYERS, *JOINS): [], FOLLOWERS: []}
    for node in within:
        for kinds, found in names.items():
            if node.op_type in kinds:
                found.append(node.name)
    candidates, followers = (tuple(found) for found in names.values())
    return Body(candidates, followers, heads)


def write_heads(source: Path, heads: tuple[str, ...], target: Path) -> None:
    """Write the graph of ``source`` from the picture to ``heads`` to ``target``."""
    model = onnx.load(str(source))
    extracted = onnx.utils.Extractor(model).extract_model(["image"], list(heads))
    onnx.save(extracted, str(target))


def state_corners(model: ModelProto) -> None:
    """Say that boxes to suppress have four numbers: OpenVINO cannot infer it in a quantised graph, and refuses that."""
    graph = model.graph
    name = "quantised.corners"
    for place, node in enumerate(graph.node):
        if node.op_type == "NonMaxSuppression":
            graph.initializer.append(numpy_helper.from_array(np.array([0, 0, 4], np.int64), f"{name}.shape"))
            stated = helper.make_node("Reshape", [node.input[0], f"{name}.shape"], [name], name=name)
            node.input[0] = name
            graph.node.insert(place, stated)
            return


def _features(model: ModelProto) -> set[str]:
    """The tensors that are computed of the picture's pixels by layers and what may lie between them."""
    found = {"image"}
    for node in model.graph.node:
        if node.op_type in (*LAYERS, *JOINS, *FOLLOWERS, *_FLOAT) and _data(node, found):
            found |= set(node.output)
    return found


def _data(node: NodeProto, features: set[str]) -> list[str]:
    """The inputs of ``node`` that are features."""
    inputs = node.input if node.op_type in _MERGES else node.input[:1]
    return [name for name in inputs if name in features]


def _upstream(model: ModelProto, features: set[str]) -> tuple[list[NodeProto], tuple[str, ...]]:
    """The nodes that a layer among them depends on or is, and the outputs of layers on which no other depends."""
    needed: set[str] = set()
    within: list[NodeProto] = []
    heads: list[str] = []
    for node in reversed(model.graph.node):
        read = _data(node, features)
        if not read or not features.intersection(node.output):
            continue
        last = node.op_type in LAYERS and not needed.intersection(node.output)
        if last:
            heads.append(node.output[0])
        if last or needed.intersection(node.output):
            needed |= set(read)
            within.append(node)
    return within[::-1], tuple(heads[::-1])

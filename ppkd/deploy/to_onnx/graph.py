"""Corrections of what paddle2onnx writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ModelProto, helper
from paddle import nn

from ppkd.utils.errors import WeightsError


def name_outputs(graph: GraphProto, names: Sequence[str]) -> None:
    """Give the outputs of ``graph``, in order, these ``names``."""
    for output, name in zip(graph.output, names, strict=True):
        graph.node.append(helper.make_node("Identity", [output.name], [name], name=f"name.{name}"))
        output.name = name


def correct_epsilons(graph: GraphProto, model: nn.Layer) -> None:
    """Set the epsilon of every normalisation by groups.

    paddle2onnx 2.1 reads the attribute as a 32-bit number, Paddle 3.3 writes 64 bits: what it finds is arbitrary.
    """
    epsilons = {layer._epsilon for layer in model.sublayers() if isinstance(layer, nn.GroupNorm)}
    nodes = [node for node in graph.node if node.op_type == "InstanceNormalization"]
    if not nodes:
        return
    if len(epsilons) != 1:
        raise WeightsError(f"the detector's GroupNorm layers have {len(epsilons)} epsilons, ONNX export needs one")
    epsilon = epsilons.pop()
    for node in nodes:
        kept = [attribute for attribute in node.attribute if attribute.name != "epsilon"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("epsilon", float(epsilon))])


def drop_unused(graph: GraphProto) -> None:
    """Remove initializers that no node reads, of which every engine warns."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def describe(model: ModelProto, metadata: Mapping[str, str]) -> None:
    """Write ``metadata`` into the model, in place of what was there."""
    del model.metadata_props[:]
    helper.set_model_props(model, dict(metadata))

"""Corrections of what paddle2onnx writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import GraphProto, ModelProto, NodeProto, helper
from paddle import nn

from ppkd.utils.errors import ConfigError, WeightsError

POOLING_OPSET = 16


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
        _set(node, "epsilon", float(epsilon))


def correct_pooling(model: ModelProto, detector: nn.Layer) -> None:
    """State how boxes meet cells where features are pooled at proposals.

    Since opset 16 that is an attribute, which paddle2onnx leaves at its default, right for ``aligned`` alone.
    """
    nodes = [node for node in model.graph.node if node.op_type == "RoiAlign"]
    if not nodes:
        return
    aligned = detector.bbox_head.roi_extractor.aligned
    if _opset(model) < POOLING_OPSET:
        if aligned:
            raise ConfigError(f"RoIAlign.aligned needs --opset {POOLING_OPSET} or more")
        return
    for node in nodes:
        _set(node, "coordinate_transformation_mode", "half_pixel" if aligned else "output_half_pixel")


def _opset(model: ModelProto) -> int:
    return max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _set(node: NodeProto, name: str, value: float | str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute(name, value)])


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

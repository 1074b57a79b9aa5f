"""Non-maximum suppression as the end of an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto, helper, numpy_helper

from ppkd.utils.errors import ConfigError

KIND = "MultiClassNMS"


def check_suppression(settings: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` for a suppression that ONNX's ``NonMaxSuppression`` cannot do."""
    outside = "write --nms outside: the predictor suppresses as the detector does"
    if settings["type"] != KIND:
        raise ConfigError(f"--nms inside: {settings['type']} has no counterpart in ONNX; {outside}")
    if settings["nms_eta"] != 1:
        raise ConfigError(f"--nms inside: nms_eta {settings['nms_eta']} has no counterpart in ONNX; {outside}")


def append_suppression(graph: GraphProto, settings: Mapping[str, Any]) -> None:
    """Replace the outputs ``boxes`` and ``scores`` of ``graph`` by ``bbox`` [M, 6] and ``bbox_num`` [N].

    ``boxes`` are [N, P, 4], or [N, P, C, 4], and ``scores`` [N, C, P]. The same detections as ``multiclass_nms3``, for
    any batch, an image's best first. paddle2onnx's own form is right for a batch of one only.
    """
    by_class = len(graph.output[0].type.tensor_type.shape.dim) == 4
    tail = _Tail(graph)
    boxes, scores = graph.output[0].name, graph.output[1].name
    tail.shapes(scores)
    boxes, scores = tail.candidates(boxes, scores, settings, by_class)
    kept = tail.survivors(boxes, scores, settings)
    tail.detections(boxes, kept, settings["keep_top_k"])
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("bbox", TensorProto.FLOAT, ["detections", 6]))
    graph.output.append(helper.make_tensor_value_info("bbox_num", TensorProto.INT32, ["images"]))


class _Tail:
    """Appends nodes; ``n``, ``c`` and ``k`` name int64 [1] values: images, classes, candidates of a class."""

    def __init__(self, graph: GraphProto) -> None:
        self.graph = graph
        self.count = 0

    def shapes(self, scores: str) -> None:
        shape = self.node("Shape", scores)
        self.n, self.c, self.k = (self.node("Gather", shape, self.ints(axis)) for axis in range(3))

    def candidates(self, boxes: str, scores: str, settings: Mapping[str, Any], by_class: bool) -> tuple[str, str]:
        """The best of each class: boxes [N * C, k, 4] and scores [N * C, 1, k]."""
        background = settings["background_label"]
        if background >= 0:
            classes = self.node("Range", self.scalar(0), self.node("Squeeze", self.c), self.scalar(1))
            counted = self.node("Cast", self.node("Not", self.node("Equal", classes, self.ints(background))), to=1)
            scores = self.node("Mul", scores, self.node("Unsqueeze", counted, self.ints(1)))
        if settings["nms_top_k"] >= 0:
            self.k = self.node("Min", self.k, self.ints(settings["nms_top_k"]))
        best, index = self.nodes("TopK", 2, scores, self.k, axis=2)
        groups = self.node("Mul", self.n, self.c)
        if by_class:
            transposed = self.node("Transpose", boxes, perm=[0, 2, 1, 3])
            boxes = self.node("Reshape", transposed, self.join(groups, self.ints(-1), self.ints(4)))
            index = self.node("Reshape", index, self.join(groups, self.k, self.ints(1)))
        else:
            index = self.node("Reshape", index, self.join(self.n, self.ints(-1), self.ints(1)))
        boxes = self.node("GatherND", boxes, index, batch_dims=1)
        boxes = self.node("Reshape", boxes, self.join(groups, self.k, self.ints(4)))
        # OpenVINO wants to know, before it computes anything, that a box has four numbers.
        boxes = self.node("Gather", boxes, self.ints(0, 1, 2, 3), axis=2)
        return boxes, self.node("Reshape", best, self.join(groups, self.ints(1), self.k))

    def survivors(self, boxes: str, scores: str, settings: Mapping[str, Any]) -> str:
        """The scores [N, C * k] of the candidates that remain, -1 for the others."""
        if not settings["normalized"]:
            # A side is one longer than the distance of its ends.
            boxes = self.node("Add", boxes, self.floats([0, 0, 1, 1]))
        limits = [self.floats([settings[key]]) for key in ("nms_threshold", "score_threshold")]
        chosen = self.node("NonMaxSuppression", boxes, scores, self.k, *limits)
        group, _, place = self.nodes("Split", 3, chosen, axis=1)
        place = self.node("Add", self.node("Mul", group, self.k), place)
        flat = self.node("Reshape", scores, self.ints(-1))
        nothing = self.node("Sub", self.node("Mul", flat, self.floats([0])), self.floats([1]))
        kept = self.node("ScatterND", nothing, place, self.node("GatherND", flat, place))
        return self.node("Reshape", kept, self.join(self.n, self.ints(-1)))

    def detections(self, boxes: str, kept: str, keep_top_k: int) -> None:
        """The outputs: class, score and box of each image's best survivors, and how many these are."""
        limit = self.node("Mul", self.c, self.k)
        if keep_top_k >= 0:
            limit = self.node("Min", limit, self.ints(keep_top_k))
        score, place = self.nodes("TopK", 2, kept, limit, axis=1)
        label = self.node("Cast", self.node("Div", place, self.k), to=TensorProto.FLOAT)
        boxes = self.node("Reshape", boxes, self.join(self.n, self.ints(-1), self.ints(4)))
        box = self.node("GatherND", boxes, self.column(place), batch_dims=1)
        table = self.node("Concat", self.column(label), self.column(score), box, axis=2)
        found = self.node("Greater", score, self.floats([-0.5]))
        rows = self.node("Transpose", self.node("NonZero", found), perm=[1, 0])
        self.add("GatherND", ["bbox"], table, rows)
        number = self.node("ReduceSum", self.node("Cast", found, to=TensorProto.INT32), self.ints(1), keepdims=0)
        self.add("Identity", ["bbox_num"], number)

    def column(self, name: str) -> str:
        return self.node("Unsqueeze", name, self.ints(2))

    def join(self, *names: str) -> str:
        return self.node("Concat", *names, axis=0)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.nodes(kind, 1, *inputs, **attributes)[0]

    def nodes(self, kind: str, outputs: int, *inputs: str, **attributes: Any) -> list[str]:
        names = [self._name() for _ in range(outputs)]
        self.add(kind, names, *inputs, **attributes)
        return names

    def add(self, kind: str, outputs: list[str], *inputs: str, **attributes: Any) -> None:
        self.graph.node.append(helper.make_node(kind, list(inputs), outputs, name=self._name(), **attributes))

    def ints(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def scalar(self, value: int) -> str:
        return self._constant(np.array(value, np.int64))

    def floats(self, values: list[float]) -> str:
        return self._constant(np.array(values, np.float32))

    def _constant(self, value: np.ndarray) -> str:
        name = self._name()
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _name(self) -> str:
        self.count += 1
        return f"suppression.{self.count}"

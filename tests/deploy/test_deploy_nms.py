"""Suppression outside of a model, and at the end of an ONNX graph, finds what Paddle's operators find."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import paddle
import pytest
from onnx import TensorProto, helper

from ppkd.deploy.nms import suppression
from ppkd.deploy.pipeline import split_detections
from ppkd.deploy.to_onnx.suppress import append_suppression, check_suppression
from ppkd.models.postprocess.diou_nms import DIoUNMS, VotingClusterDIoUNMS
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.utils.errors import ConfigError, WeightsError

IMAGES, PLACES, CLASSES = 2, 60, 3
SUPPRESSIONS = {
    "usual": MultiClassNMS(score_threshold=0.3, nms_top_k=40, keep_top_k=20, nms_threshold=0.5),
    "all": MultiClassNMS(score_threshold=0.0, nms_top_k=-1, keep_top_k=-1, nms_threshold=0.4),
    "pixels": MultiClassNMS(score_threshold=0.3, nms_top_k=1000, nms_threshold=0.3, normalized=False),
    "background": MultiClassNMS(score_threshold=0.3, nms_threshold=0.5, background_label=0),
    "nothing": MultiClassNMS(score_threshold=2.0, nms_threshold=0.5),
}
OTHERS = {
    "eta": MultiClassNMS(score_threshold=0.3, nms_threshold=0.9, nms_eta=0.9),
    "diou": DIoUNMS(score_threshold=0.3, nms_top_k=80, keep_top_k=30),
    "voting": VotingClusterDIoUNMS(score_threshold=0.3, nms_top_k=80, nms_threshold=0.3, vote_threshold=0.4),
}


def numbers(by_class: bool) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int(by_class))
    shape = (IMAGES, PLACES, CLASSES, 2) if by_class else (IMAGES, PLACES, 2)
    low = rng.uniform(0, 40, shape)
    boxes = np.concatenate([low, low + rng.uniform(5, 40, shape)], axis=-1).astype("float32")
    return boxes, rng.uniform(0, 1, (IMAGES, CLASSES, PLACES)).astype("float32")


def settings(nms: Any) -> dict[str, Any]:
    return {"type": type(nms).__name__, **vars(nms)}


def ordered(rows: np.ndarray) -> np.ndarray:
    return rows[np.lexsort(rows.T[::-1])]


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("name", [*SUPPRESSIONS, *OTHERS])
def test_in_numpy(name: str, by_class: bool) -> None:
    nms = {**SUPPRESSIONS, **OTHERS}[name]
    boxes, scores = numbers(by_class)
    found, counts = nms(paddle.to_tensor(boxes), paddle.to_tensor(scores))
    expected = split_detections([found.numpy().reshape(-1, 6), counts.numpy()], IMAGES)
    suppress = suppression(settings(nms), "x")
    assert name == "nothing" or sum(map(len, expected)) > 20
    for i, rows in enumerate(expected):
        np.testing.assert_allclose(ordered(suppress(boxes[i], scores[i])), ordered(rows), atol=2e-4)


def graph(by_class: bool) -> onnx.ModelProto:
    dims = ["n", "p", CLASSES, 4] if by_class else ["n", "p", 4]
    shapes = {"boxes": dims, "scores": ["n", CLASSES, "p"]}
    nodes = [helper.make_node("Identity", [f"in_{name}"], [name]) for name in shapes]
    ends = [
        [helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, dims) for name, dims in shapes.items()]
        for prefix in ("in_", "")
    ]
    return helper.make_model(helper.make_graph(nodes, "g", *ends), opset_imports=[helper.make_opsetid("", 13)])


@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("name", SUPPRESSIONS)
def test_inside_of_a_model_for_any_batch(name: str, by_class: bool, tmp_path: Path) -> None:
    nms = SUPPRESSIONS[name]
    model = graph(by_class)
    append_suppression(model.graph, settings(nms))
    model.ir_version = 8
    onnx.checker.check_model(model)
    boxes, scores = numbers(by_class)
    file = str(tmp_path / "model.onnx")
    onnx.save(model, file)
    session = onnxruntime.InferenceSession(file)
    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    suppress = suppression(settings(nms), "x")
    for images in (1, IMAGES):
        given = {"in_boxes": boxes[:images], "in_scores": scores[:images]}
        other = compiled(given)
        for outputs in (session.run(None, given), [other[output] for output in compiled.outputs]):
            for i, rows in enumerate(split_detections(outputs, images)):
                np.testing.assert_array_equal(ordered(rows), ordered(suppress(boxes[i], scores[i])))


@pytest.mark.parametrize(("name", "says"), [("eta", "nms_eta 0.9"), ("diou", "DIoUNMS"), ("voting", "VotingCluster")])
def test_what_onnx_lacks_is_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=f"--nms inside: {says}.* has no counterpart in ONNX; write --nms outside"):
        check_suppression(settings(OTHERS[name]))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"type": "MatrixNMS"}, "its suppression is 'MatrixNMS'"),
        ({"type": "DIoUNMS", "sigma": 2}, "its suppression DIoUNMS has other"),
    ],
)
def test_unknown_suppression_of_a_file(given: dict[str, Any], says: str) -> None:
    with pytest.raises(WeightsError, match=rf"x\.onnx: .*{says}"):
        suppression(given, "x.onnx")

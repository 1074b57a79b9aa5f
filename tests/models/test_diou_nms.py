"""Suppression by distance-IoU: LD's own numbers, cases worked by hand, and the exported program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paddle
import pytest
from narrow import narrow
from paddle import nn
from paddle.static import InputSpec

from ppkd.config import load_config
from ppkd.deploy.engine import EagerEngine, InferenceEngine
from ppkd.deploy.export import export_model
from ppkd.models import build_detector
from ppkd.models.postprocess.diou_nms import DIoUNMS, VotingClusterDIoUNMS, greedy_survivors, pairwise_diou
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.utils.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
CASES = json.loads((GOLDEN / "votenms.json").read_text())
KINDS = [DIoUNMS, VotingClusterDIoUNMS]
NMS_PLACES = {
    "gfl_r18_160_shapes": "GFLHead.nms",
    "retinanet_r18_160_shapes": "RetinaHead.nms",
    "yolov3_mobilenet_v1_x0.25_160_shapes": "BBoxPostProcess.nms",
}


def one_image(boxes: list[list[float]], scores: list[list[float]]) -> tuple[paddle.Tensor, paddle.Tensor]:
    return paddle.to_tensor([boxes], dtype="float32"), paddle.to_tensor([scores], dtype="float32")


def spread(boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (P, C * 4), each class with its own, as (P * C, 4) boxes that score for one class only."""
    places, classes = scores.shape
    if boxes.shape[1] == 4:
        return boxes, scores.T
    alone = scores[:, :, None] * np.eye(classes, dtype="float32")
    return boxes.reshape(-1, 4), alone.reshape(places * classes, classes).T


def golden(name: str) -> tuple[paddle.Tensor, paddle.Tensor, np.ndarray, np.ndarray]:
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        boxes, scores = spread(arrays["in.boxes"].astype("float32"), arrays["in.scores"][:, :-1].astype("float32"))
        return paddle.to_tensor(boxes), paddle.to_tensor(scores), arrays["out.dets"], arrays["out.labels"]


def voting(name: str) -> VotingClusterDIoUNMS:
    hyper = CASES[name]
    return VotingClusterDIoUNMS(
        score_threshold=hyper["score_thr"],
        keep_top_k=hyper["max_num"],
        nms_threshold=hyper["iou_threshold"],
        beta=hyper["diou_beta"],
        vote_threshold=hyper["vote_iou"],
        vote_sigma=hyper["vote_sigma"],
    )


@pytest.mark.parametrize("name", CASES)
def test_votes_are_those_of_the_reference(name):
    boxes, scores, expected, labels = golden(name)
    found, counts = voting(name)(boxes.unsqueeze(0), scores.unsqueeze(0))
    assert counts.tolist() == [len(labels)]
    assert found[:, 0].astype("int64").tolist() == labels.tolist()
    np.testing.assert_allclose(found[:, 1].numpy(), expected[:, 4], rtol=1e-6)
    np.testing.assert_allclose(found[:, 2:].numpy(), expected[:, :4], atol=2e-3)


def test_the_defaults_are_the_published_settings():
    hyper, default = CASES["votenms_n200c4"], VotingClusterDIoUNMS()
    assert vars(default) == vars(voting("votenms_n200c4")) | {"keep_top_k": hyper["max_num"]}


def test_images_of_a_batch_do_not_meet():
    boxes, scores, _, _ = golden("votenms_n60c3_all")
    suppress = voting("votenms_n60c3_all")
    alone, count = suppress(boxes.unsqueeze(0), scores.unsqueeze(0))
    together, counts = suppress(paddle.stack([boxes, boxes, boxes]), paddle.stack([scores, scores * 0, scores]))
    assert counts.tolist() == [count.item(), 0, count.item()]
    np.testing.assert_allclose(together.numpy(), np.tile(alone.numpy(), (2, 1)), atol=1e-4)


def test_distance_iou_by_hand():
    """10 x 10 boxes 5 apart: IoU 50 / 150, centres 5 apart, around both 15 x 10; far apart: IoU 0, 20 of 30 x 10."""
    boxes = paddle.to_tensor([[0.0, 0, 10, 10], [5, 0, 15, 10], [20, 0, 30, 10]])
    found = pairwise_diou(boxes, beta=0.8).numpy()
    np.testing.assert_allclose(np.diag(found), 1, atol=1e-6)
    np.testing.assert_allclose(found[0, 1], 1 / 3 - (25 / 325) ** 0.8, rtol=1e-5)
    np.testing.assert_allclose(found[0, 2], -((400 / 1000) ** 0.8), rtol=1e-5)
    np.testing.assert_allclose(found, found.T, atol=1e-6)


def test_survivors_are_those_of_the_greedy_loop():
    rng = np.random.default_rng(3)
    matrix = np.triu(rng.random((4, 60, 60)) < 0.08, 1)
    expected = np.ones((4, 60), bool)
    for image in range(4):
        for j in range(60):
            expected[image, j] = not (matrix[image, :, j] & expected[image]).any()
    found = greedy_survivors(paddle.to_tensor(matrix.astype("float32"))).numpy()
    assert np.array_equal(found, expected)
    assert 0.1 < expected.mean() < 0.9


def test_a_suppressed_box_suppresses_nothing():
    """A chain, each box over the next one: the first and third stay, as the second, which fell, frees the third."""
    chain = paddle.to_tensor(np.eye(5, k=1, dtype="float32")[None])
    assert greedy_survivors(chain).tolist() == [[True, False, True, False, True]]


def test_distant_centres_are_spared():
    """The IoU is 80 / 120 = 0.667, the distance-IoU 2^2 / (12^2 + 10^2) less: 0.650."""
    boxes, scores = one_image([[0, 0, 10, 10], [2, 0, 12, 10]], [[0.9, 0.8]])
    assert MultiClassNMS(nms_threshold=0.655)(boxes, scores)[1].tolist() == [1]
    assert DIoUNMS(nms_threshold=0.655)(boxes, scores)[1].tolist() == [2]
    assert DIoUNMS(nms_threshold=0.645)(boxes, scores)[1].tolist() == [1]


def test_hard_suppression_keeps_boxes_and_classes_as_they_are():
    boxes, scores = one_image([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], [[0.9, 0.8, 0.2], [0.3, 0.7, 0.01]])
    found, counts = DIoUNMS(nms_threshold=0.5)(boxes, scores)
    assert counts.tolist() == [3]
    expected = [[0, 0.9, 0, 0, 10, 10], [1, 0.7, 0, 0, 10, 9], [0, 0.2, 20, 20, 30, 30]]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_a_vote_by_hand():
    boxes, scores = one_image([[0, 0, 10, 10], [0, 0, 10, 9]], [[0.9, 0.6], [0.0, 0.0]])
    found, _ = VotingClusterDIoUNMS()(boxes, scores)
    overlap = 0.9 - (0.25 / 200) ** 0.8
    weight = 0.6 * np.exp(-((1 - overlap) ** 2) / 0.025)
    expected = (0.9 * 10 + weight * 9) / (0.9 + weight)
    np.testing.assert_allclose(found.numpy(), [[0, 0.9, 0, 0, 10, expected]], rtol=1e-5)


def test_boxes_below_the_threshold_do_not_vote():
    boxes, scores = one_image([[0, 0, 10, 10], [0, 0, 10, 9]], [[0.9, 0.3]])
    found, _ = VotingClusterDIoUNMS(score_threshold=0.4)(boxes, scores)
    np.testing.assert_allclose(found[0, 2:].numpy(), [0, 0, 10, 10], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_limits(kind):
    boxes = paddle.arange(20, dtype="float32").reshape([1, 20, 1]) * 10 + paddle.to_tensor([0.0, 0, 5, 5])
    scores = paddle.linspace(0.1, 0.9, 20).reshape([1, 1, 20])
    best = np.linspace(0.1, 0.9, 20)[::-1]
    for settings, count in (({"keep_top_k": 7}, 7), ({"nms_top_k": 5}, 5), ({"keep_top_k": -1}, 20)):
        found, counts = kind(**settings)(boxes, scores)
        assert counts.tolist() == [count]
        np.testing.assert_allclose(found[:, 1].numpy(), best[:count], rtol=1e-5)
    with pytest.raises(ConfigError, match=rf"{kind.__name__}\.nms_top_k is -1"):
        kind(nms_top_k=-1)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_and_one_candidate(kind):
    boxes, scores = one_image([[0, 0, 10, 10], [5, 5, 30, 30]], [[0.01, 0.0], [0.0, 0.02]])
    found, counts = kind()(boxes, scores)
    assert (found.shape, counts.tolist()) == ([0, 6], [0])
    found, counts = kind()(boxes[:, :1], scores[:, :1, :1] + 0.5)
    assert counts.tolist() == [1]
    np.testing.assert_allclose(found.numpy(), [[0, 0.51, 0, 0, 10, 10]], rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_boxes_without_area_stay_numbers(kind):
    """One is a point, one a line, twice, and one lies in an ordinary box."""
    rows = [[5, 5, 5, 5], [3, 0, 3, 8], [3, 0, 3, 8], [0, 0, 10, 10], [0, 0, 0, 0]]
    boxes, scores = one_image(rows, [[0.9, 0.8, 0.7, 0.6, 0.0]])
    found, counts = kind()(boxes, scores)
    assert counts.dtype == paddle.int32
    assert np.isfinite(found.numpy()).all()
    np.testing.assert_allclose(found[:, 2:].numpy(), rows[:4], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NMS_PLACES)
def test_every_detector_takes_it(root, name, kind):
    built = build_detector(
        load_config(root / f"configs/shapes/{name}.yml", [f"{NMS_PLACES[name]}.name={kind.__name__}"])
    )
    suppress = built.post_process.nms
    assert type(suppress) is kind
    assert (suppress.nms_top_k, suppress.keep_top_k) == (1000, 100)
    assert suppress.beta == kind().beta


@pytest.mark.parametrize("kind", KINDS)
def test_the_exported_program_computes_the_same(root, tmp_path, kind):
    settings = [
        f"GFLHead.nms={{name: {kind.__name__}, score_threshold: 0.2, nms_threshold: 0.6}}",
        "GFLHead.prior_prob=0.2",
        "TestDataset.label_list=[disc, triangle, square, cross]",
        "TestReader.inputs_def.image_shape=[3, -1, -1]",
    ]
    path = root / "configs/shapes/gfl_r18_160_shapes.yml"
    cfg = load_config(path, [*narrow(load_config(path)), *settings])
    paddle.seed(5)
    detector = build_detector(cfg)
    detector.eval()
    engine = InferenceEngine(export_model(detector, cfg, tmp_path))
    rng = np.random.default_rng(1)
    for images, height, width in ((1, 160, 160), (2, 128, 256)):
        batch = {
            "image": rng.normal(0, 1, (images, 3, height, width)).astype("float32"),
            "im_shape": np.tile(np.float32([height, width]), (images, 1)),
            "scale_factor": np.full((images, 2), 0.5, "float32"),
        }
        found, counts = engine(batch)
        expected = EagerEngine(detector)(batch)
        assert expected[1].sum() > 5 * images, "the comparison needs detections"
        assert counts.dtype == np.int32
        assert np.array_equal(counts, expected[1])
        np.testing.assert_allclose(found, expected[0], atol=1e-3)


class Alone(nn.Layer):
    """A suppression as a program of its own."""

    def __init__(self, suppress: DIoUNMS):
        super().__init__()
        self.suppress = suppress

    def forward(self, boxes: paddle.Tensor, scores: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor]:
        return self.suppress(boxes, scores)


@pytest.mark.filterwarnings("error:Tensor do not have 'place'")
def test_the_program_alone_has_the_numbers_of_the_reference_and_takes_any_size(tmp_path):
    boxes, scores, expected, labels = golden("votenms_n200c4")
    specs = [InputSpec([None, None, 4], "float32"), InputSpec([None, 4, None], "float32")]
    paddle.jit.save(Alone(voting("votenms_n200c4")).eval(), str(tmp_path / "alone"), input_spec=specs)
    program = paddle.jit.load(str(tmp_path / "alone"))
    found, counts = program(boxes.unsqueeze(0), scores.unsqueeze(0))
    assert counts.tolist() == [len(labels)]
    assert found[:, 0].astype("int64").tolist() == labels.tolist()
    np.testing.assert_allclose(found[:, 2:].numpy(), expected[:, :4], atol=2e-3)
    found, counts = program(paddle.stack([boxes[:1]] * 2), paddle.stack([scores[:, :1] * 0, scores[:, :1] * 0 + 0.5]))
    assert counts.tolist() == [0, 4]
    assert found[:, 0].sort().tolist() == [0, 1, 2, 3]
    found, counts = program(boxes.unsqueeze(0), scores.unsqueeze(0) * 0)
    assert (found.shape, counts.tolist()) == ([0, 6], [0])

"""RetinaNet's parts: anchors, assignment, losses, decoding, export."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import paddle
import pytest
from narrow import narrow

from ppkd.config import load_config
from ppkd.deploy import export_model
from ppkd.deploy.engine import InferenceEngine
from ppkd.models import build_detector
from ppkd.models.assigners.max_iou_assigner import MaxIoUAssigner
from ppkd.models.heads.anchor_generator import RetinaAnchorGenerator
from ppkd.models.losses.focal_loss import FocalLoss
from ppkd.models.losses.smooth_l1_loss import SmoothL1Loss
from ppkd.models.necks.fpn import FPN
from ppkd.models.postprocess.dense_decode import join_levels
from ppkd.structures import LevelSpec
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError, DataError

SMALL = ["FPN.out_channel=16", "num_classes=3"]
TOWER = ["RetinaHead.conv_feat.feat_in=16", "RetinaHead.conv_feat.feat_out=16", "RetinaHead.conv_feat.num_convs=1"]


@pytest.fixture(scope="module")
def config(root):
    def load(*overrides: str) -> Any:
        path = root / "configs" / "retinanet" / "retinanet_r18_fpn_1x_coco.yml"
        return load_config(path, [*narrow(load_config(path)), *SMALL, *TOWER, *overrides])

    return load


@pytest.fixture(scope="module")
def model(config):
    """A narrow RetinaNet of three classes that is sure of enough anchors to return boxes."""
    paddle.seed(0)
    built = build_detector(config("RetinaHead.prior_prob=0.2", "RetinaHead.nms_pre=100"))
    built.eval()
    return built


def overlap(box: np.ndarray, anchor: np.ndarray) -> np.float32:
    wide, high = np.clip(np.minimum(box[2:], anchor[2:]) - np.maximum(box[:2], anchor[:2]), 0, None)
    shared = wide * high
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(anchor[2:] - anchor[:2]) - shared)


def plain_assignment(anchors: np.ndarray, boxes: np.ndarray, low_quality: bool) -> tuple[list[int], list[int]]:
    """The best box of every anchor and the anchor's kind: 1 positive, 0 negative, -1 neither."""
    owners, kinds = [0] * len(anchors), [0] * len(anchors)
    best_of_box = [max(overlap(box, anchor) for anchor in anchors) for box in boxes]
    for i, anchor in enumerate(anchors):
        values = [overlap(box, anchor) for box in boxes]
        if not values:
            continue
        owners[i] = int(np.argmax(values))
        kinds[i] = 1 if max(values) >= 0.5 else 0 if max(values) < 0.4 else -1
        if low_quality and any(value == best > 0 for value, best in zip(values, best_of_box, strict=True)):
            kinds[i] = 1
    return owners, kinds


def pyramid(height: int, width: int) -> list[Any]:
    """Five empty levels of an image, strides 8 to 128."""
    return [paddle.zeros([1, 1, -(-height // stride), -(-width // stride)]) for stride in (8, 16, 32, 64, 128)]


def test_anchors_of_a_cell():
    generator = RetinaAnchorGenerator()
    anchors = [level.numpy() for level in generator([paddle.zeros([1, 1, 2, 3])] * 5)]
    assert generator.num_anchors == 9
    assert [len(level) for level in anchors] == [2 * 3 * 9] * 5
    width, height = 32 * math.sqrt(2), 32 / math.sqrt(2)
    np.testing.assert_allclose(anchors[0][0], [-width / 2, -height / 2, width / 2, height / 2], rtol=1e-6)
    np.testing.assert_allclose(anchors[1][9 + 1], [16 - 32, -32, 16 + 32, 32], rtol=1e-6)
    side = 512 * 2 ** (2 / 3)
    np.testing.assert_allclose(anchors[4][3 * 9 + 7], [-side / 2, 128 - side / 2, side / 2, 128 + side / 2], rtol=1e-6)


@pytest.mark.parametrize("low_quality", [True, False])
def test_assignment_is_that_of_a_plain_loop(batches, low_quality):
    batch = batches(96, 128, [4, 0, 1], 3)
    batch["gt_bbox"][2] = paddle.concat([batch["gt_bbox"][2], paddle.to_tensor([[3.0, 4.0, 9.0, 8.0]])])
    batch["gt_class"][2] = paddle.concat([batch["gt_class"][2], paddle.zeros([1], "int64")])
    anchors = paddle.concat(RetinaAnchorGenerator(octave_base_scale=3)(pyramid(96, 128)))
    assigner = MaxIoUAssigner(positive_overlap=0.5, negative_overlap=0.4, allow_low_quality=low_quality)
    found = assigner(anchors, Truth.of(batch))
    positive, negative = found.positive.numpy(), found.negative.numpy()
    assert not (positive & negative).any()
    for i, boxes in enumerate(batch["gt_bbox"]):
        owners, kinds = plain_assignment(anchors.numpy(), boxes.numpy(), low_quality)
        np.testing.assert_array_equal(np.where(positive[i], 1, np.where(negative[i], 0, -1)), kinds)
        np.testing.assert_array_equal(found.box.numpy()[i][positive[i]], np.array(owners)[positive[i]])
    tiny_found = (found.box.numpy()[2] == 1)[positive[2]].any()
    assert tiny_found == low_quality


def test_targets_of_an_image_do_not_depend_on_the_others(model, batches):
    both = batches(96, 128, [4, 1], 3)
    alone = {key: value[1:] for key, value in both.items()}
    together = model.assign(model.extract(both), both)
    single = model.assign(model.extract(alone), alone)
    for entry in ("labels", "positive", "deltas"):
        np.testing.assert_array_equal(getattr(together, entry)[1:].numpy(), getattr(single, entry).numpy())


def test_the_padding_of_an_image_is_background(model, batches):
    """The same image and boxes on a canvas twice as wide: the same targets on the image, no class beside it."""
    small = batches(128, 128, [3], 3)
    small["gt_bbox"][0] = paddle.to_tensor(
        [[10.0, 10.0, 60.0, 50.0], [30.0, 40.0, 70.0, 110.0], [5.0, 60.0, 40.0, 90.0]]
    )
    wide = {**small, "image": paddle.concat([small["image"], paddle.zeros([1, 3, 128, 128])], axis=3)}
    labels = []
    for batch in (small, wide):
        record = model.extract(batch)
        flat, start, levels = model.assign(record, batch).labels.numpy()[0], 0, []
        for level in record.cls_logits[:4]:
            _, anchors, _, height, width = level.shape
            count = height * width * anchors
            levels.append(flat[start : start + count].reshape(height, width, anchors))
            start += count
        labels.append(levels)
    for on_small, on_wide in zip(*labels, strict=True):
        columns = on_small.shape[1]
        np.testing.assert_array_equal(on_wide[:, :columns], on_small)
        assert (on_wide[:, columns + columns // 2 :] == 3).all()


def test_a_batch_without_boxes_trains_the_classes_only(model, batches):
    model.clear_gradients()
    losses = model(batches(64, 96, [0, 0], 3))
    losses["loss"].backward()
    assert losses["loss_reg"].item() == 0
    assert losses["loss_cls"].item() > 0
    assert paddle.abs(model.head.retina_cls.weight.grad).sum().item() > 0
    assert paddle.abs(model.head.retina_reg.weight.grad).sum().item() == 0


def test_focal_loss_of_hand_worked_cases():
    logits = paddle.to_tensor([[0.0, 2.0], [0.0, 0.0], [5.0, -5.0]])
    labels = paddle.to_tensor([1, 2, -1])
    score = 1 / (1 + math.exp(-2))
    right = -0.25 * (1 - score) ** 2 * math.log(score)
    even = -0.75 * 0.5**2 * math.log(0.5)
    assert FocalLoss(loss_weight=2.0)(logits, labels).item() == pytest.approx(2 * (right + 3 * even), rel=1e-5)


def test_smooth_l1_of_hand_worked_cases():
    predicted, target = paddle.to_tensor([[0.5, 3.0], [9.0, 9.0]]), paddle.zeros([2, 2])
    weight = paddle.to_tensor([1.0, 0.0])
    assert SmoothL1Loss(beta=1.0)(predicted, target, weight).item() == pytest.approx(0.125 + 2.5)
    assert SmoothL1Loss(beta=0.0)(predicted, target, weight).item() == pytest.approx(3.5)


def test_only_the_best_anchors_of_a_level_are_decoded(model, batches):
    """Against a plain computation for one image, suppression left out; sides have scales of their own."""
    batch = {**batches(96, 128, [1], 3), "scale_factor": paddle.to_tensor([[0.5, 2.0]])}
    post_process, nms = model.post_process, model.post_process.nms
    post_process.nms = lambda boxes, scores: (boxes, scores)
    try:
        with paddle.no_grad():
            record = model.extract(batch)
            found = model.predict(batch)
    finally:
        post_process.nms = nms
    boxes, scores = found["bbox"].numpy()[0], found["bbox_num"].numpy()[0]
    anchors = model.head.anchor_generator(record.cls_logits)
    start = 0
    for level, level_anchors in enumerate(anchors):
        logits = join_levels([record.cls_logits[level]]).numpy()[0]
        deltas = join_levels([record.box_deltas[level]]).numpy()[0]
        best = np.argsort(-logits.max(-1), kind="stable")[:100]
        chosen, moved = level_anchors.numpy()[best], deltas[best]
        size = chosen[:, 2:] - chosen[:, :2]
        centre = chosen[:, :2] + size / 2 + moved[:, :2] * size
        half = size * np.exp(moved[:, 2:]) / 2
        expected = np.concatenate([centre - half, centre + half], 1) / [2.0, 0.5, 2.0, 0.5]
        rows = slice(start, start + len(best))
        np.testing.assert_allclose(boxes[rows], expected, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(scores[:, rows], 1 / (1 + np.exp(-logits[best].T)), rtol=1e-5)
        start += len(best)
    assert start == len(boxes) == scores.shape[1] < sum(len(level) for level in anchors)


@pytest.mark.slow
@pytest.mark.parametrize("mkldnn", [False, True])
def test_the_exported_program_takes_any_size(model, config, tmp_path, mkldnn):
    """Sizes at which levels hold fewer anchors than are decoded, one cell included, and batches of any length."""
    engine = InferenceEngine(export_model(model, config(), tmp_path), enable_mkldnn=mkldnn)
    draw = np.random.default_rng(0)
    for images, height, width in [(1, 160, 192), (2, 64, 96), (3, 32, 32)]:
        batch = {
            "image": draw.standard_normal((images, 3, height, width), np.float32),
            "im_shape": np.tile(np.float32([[height, width]]), (images, 1)),
            "scale_factor": np.tile(np.float32([[0.5, 0.7]]), (images, 1)),
        }
        with paddle.no_grad():
            eager = model.predict({key: paddle.to_tensor(value) for key, value in batch.items()})
        rows, counts = engine(batch)
        np.testing.assert_array_equal(counts, eager["bbox_num"].numpy())
        np.testing.assert_allclose(rows, eager["bbox"].numpy(), rtol=1e-4, atol=1e-3 if mkldnn else 0)


def test_a_pyramid_without_convolutions_for_its_coarser_level():
    fpn = FPN(in_specs=[LevelSpec(4, 16), LevelSpec(6, 32)], out_channel=8)
    features = [paddle.randn([1, 4, 6, 4]), paddle.randn([1, 6, 3, 2])]
    outputs = fpn(features)
    assert [tuple(level.shape) for level in outputs] == [(1, 8, 6, 4), (1, 8, 3, 2), (1, 8, 2, 1)]
    assert [spec.stride for spec in fpn.out_specs] == [16, 32, 64]
    np.testing.assert_array_equal(outputs[2].numpy(), outputs[1].numpy()[:, :, ::2, ::2])


def test_a_normalised_pyramid_has_no_biases():
    settings = {"out_channel": 8, "extra_stage": 2, "has_extra_convs": True, "norm_type": "bn"}
    fpn = FPN(in_specs=[LevelSpec(4, 16), LevelSpec(6, 32)], **settings)
    names = {name.rsplit(".", 2)[0] for name, _ in fpn.named_parameters()}
    assert names == {
        "fpn_inner_res4_sum_lateral",
        "fpn_res4_sum",
        "fpn_inner_res5_sum",
        "fpn_res5_sum",
        "fpn_6",
        "fpn_7",
    }
    assert not [name for name, _ in fpn.named_parameters() if name.endswith("conv.bias")]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("FPN.extra_stage=1", "strides is"),
        ("RetinaHead.conv_feat.feat_in=32", "feat_in is 32"),
        ("FPN.has_extra_convs=false", "extra_stage is 2"),
        ("MobileNet.feature_maps=[4, 13]", "strides double"),
        ("RetinaHead.bbox_assigner.negative_overlap=0.6", "negative_overlap is 0.6"),
        ("RetinaHead.conv_feat.norm_type=gn", "multiples of 32"),
    ],
)
def test_settings_that_do_not_fit_together(config, override, words):
    with pytest.raises(ConfigError, match=words):
        build_detector(config(override))


def test_sides_that_the_backbone_cannot_halve(model, batches):
    with pytest.raises(DataError, match="multiples of 32"):
        model.features(batches(48, 64, [1], 3))

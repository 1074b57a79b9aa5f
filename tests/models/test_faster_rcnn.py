"""Faster R-CNN's parts: sampling, pooling, what each mode and each kind of batch makes of the proposals, export."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import paddle
import pytest
from narrow import narrow
from paddle.vision.ops import distribute_fpn_proposals, roi_align

from ppkd.config import check, load_config
from ppkd.deploy import export_model
from ppkd.deploy.engine import InferenceEngine
from ppkd.models import build_detector
from ppkd.models.assigners.sampling import priorities, sample
from ppkd.models.heads.anchor_generator import AnchorGenerator
from ppkd.models.heads.roi_align import RoIAlign
from ppkd.models.postprocess.diou_nms import DIoUNMS
from ppkd.models.postprocess.multiclass_nms import MultiClassNMS
from ppkd.structures import LevelSpec
from ppkd.utils.errors import ConfigError

SMALL = [
    "num_classes=3",
    "FPN.out_channel=16",
    "TwoFCHead.out_channel=32",
    "BBoxAssigner.batch_size_per_im=24",
    "RPNHead.train_proposal.post_nms_top_n=60",
    "RPNHead.test_proposal.post_nms_top_n=40",
]
OPEN = ["TestReader.inputs_def.image_shape=[3,-1,-1]", "TestDataset.label_list=[disc,square,cross]"]


@pytest.fixture(scope="module")
def config(root):
    def load(*overrides: str) -> Any:
        path = root / "configs" / "shapes" / "faster_rcnn_r18_160_shapes.yml"
        return load_config(path, [*narrow(load_config(path)), *SMALL, *overrides])

    return load


@pytest.fixture
def model(config):
    paddle.seed(0)
    return build_detector(config())


@pytest.fixture
def batch(batches):
    return batches(96, 128, [3, 1], 3)


def rows(record: Any, image: int) -> np.ndarray:
    return record.proposals[image, : record.real[image].sum().item()].numpy()


def test_a_sample_is_as_large_and_as_positive_as_asked():
    draw = np.random.default_rng(0)
    positive = paddle.to_tensor(draw.random((4, 50)) < np.array([[0.6], [0.02], [0.0], [0.5]]))
    negative = paddle.to_tensor(draw.random((4, 50)) < np.array([[0.9], [0.9], [0.9], [0.1]])) & ~positive
    paddle.seed(1)
    found = sample(positive, negative, priorities(4, 50, paddle.ones([4], "bool")), count=16, fraction=0.25)
    for i in range(4):
        index, kept = found.index[i].numpy(), found.kept[i].numpy()
        chosen = index[kept]
        positives = positive.numpy()[i][chosen].sum()
        assert len(set(chosen)) == len(chosen)
        assert (positive | negative).numpy()[i][chosen].all()
        assert positives == min(4, positive.numpy()[i].sum())
        assert len(chosen) == min(16, positives + negative.numpy()[i].sum())
        assert set(np.flatnonzero(found.mask(50)[i].numpy())) == set(chosen)


def test_a_sample_is_drawn_by_paddles_generator_or_takes_the_first():
    positive, negative = paddle.zeros([1, 40], "bool"), paddle.ones([1, 40], "bool")

    def draw(shuffled: Any) -> list[int]:
        paddle.seed(3)
        found = sample(positive, negative, priorities(1, 40, shuffled), count=8, fraction=0.5)
        return np.flatnonzero(found.mask(40)[0].numpy()).tolist()

    assert draw(None) == list(range(8))
    assert draw(paddle.zeros([1], "bool")) == list(range(8))
    assert draw(paddle.ones([1], "bool")) == draw(paddle.ones([1], "bool")) != list(range(8))


@pytest.mark.parametrize(("aligned", "ratio"), [(True, 0), (False, 0), (True, 2)])
def test_pooling_is_that_of_the_level_that_suits_a_proposal(aligned, ratio):
    paddle.seed(0)
    specs = [LevelSpec(4, stride) for stride in (4, 8, 16, 32, 64)]
    features = [paddle.randn([2, 4, 256 // spec.stride, 320 // spec.stride]) for spec in specs]
    low = paddle.rand([2, 30, 2]) * 100
    size = paddle.exp(paddle.rand([2, 30, 2]) * 3 + 3)
    boxes = paddle.concat([low, low + size], axis=-1)
    found = RoIAlign(in_specs=specs, resolution=5, sampling_ratio=ratio, aligned=aligned)(features, boxes)
    number = paddle.full([2], 30, "int32")
    levels, order, numbers = distribute_fpn_proposals(boxes.flatten(0, 1), 2, 5, 4, 224, rois_num=number)
    assert sum(len(level) > 0 for level in levels) >= 3
    pooled = [
        roi_align(features[i], levels[i], numbers[i], 5, 0.25 / 2**i, sampling_ratio=ratio, aligned=aligned)
        for i in range(4)
    ]
    expected = paddle.gather(paddle.concat(pooled), order.flatten())
    np.testing.assert_allclose(found.flatten(0, 1).numpy(), expected.numpy(), atol=1e-6)


def test_padding_pools_zeros_and_sends_no_gradient():
    specs = [LevelSpec(2, stride) for stride in (4, 8, 16, 32)]
    features = [paddle.ones([1, 2, 64 // spec.stride, 64 // spec.stride]) for spec in specs]
    for feature in features:
        feature.stop_gradient = False
    found = RoIAlign(in_specs=specs, resolution=3, aligned=True)(features, paddle.zeros([1, 4, 4]))
    assert not found.numpy().any()
    found.sum().backward()
    assert not any(feature.grad.numpy().any() for feature in features)


def test_anchors_of_each_level_or_of_all():
    each = AnchorGenerator(anchor_sizes=[[32], [64]], strides=[4, 8])
    both = AnchorGenerator(anchor_sizes=[32, 64], aspect_ratios=[1.0], strides=[4, 8], offset=0.5)
    assert each.num_anchors == 3
    assert both.num_anchors == 2
    levels = both([paddle.zeros([1, 1, 2, 2])] * 2)
    np.testing.assert_allclose(levels[1].numpy()[:2], [[-12, -12, 20, 20], [-28, -28, 36, 36]])
    with pytest.raises(ConfigError, match="one list for each of the 2 strides"):
        AnchorGenerator(anchor_sizes=[[32], [64], [128]], strides=[4, 8])
    with pytest.raises(ConfigError, match="make the numbers equal"):
        AnchorGenerator(anchor_sizes=[[32], [64, 128]], strides=[4, 8])


def test_boxes_join_the_proposals_that_train(model, batch):
    model.train()
    record = model.extract(batch)
    targets = model.assign(record, batch)
    assert record.proposals.shape == [2, 24, 4]
    for i, boxes in enumerate(batch["gt_bbox"]):
        found = rows(record, i)
        assert all((np.abs(found - box).max(axis=1) == 0).any() for box in boxes.numpy())
        labels = targets.roi_labels[i].numpy()[: len(found)]
        assert (labels >= 0).all()
        assert set(labels[labels < 3]) == set(batch["gt_class"][i].tolist())
        assert (labels < 3).sum() <= 6


def test_evaluation_takes_the_best_proposals_and_draws_nothing(model, batch):
    model.eval()
    with paddle.no_grad():
        record = model.extract(batch)
        plain = model.extract({"image": batch["image"]})
    assert record.proposals.shape == [2, 40, 4]
    np.testing.assert_array_equal(record.proposals.numpy(), plain.proposals.numpy())
    assert model(batch)["loss"].item() == model(batch)["loss"].item()


def test_images_without_annotation_train_at_their_best_proposals(model, batch):
    model.train()
    best = model.rpn_head.propose(*model.rpn_head(model.features(batch)), batch["im_shape"])[0][:, :24]
    without = model.extract({"image": batch["image"], "im_shape": batch["im_shape"]})
    np.testing.assert_array_equal(without.proposals.numpy(), best.numpy())
    empty = [paddle.zeros([0, 4]), batch["gt_bbox"][1]]
    mixed = {**batch, "gt_bbox": empty, "gt_class": [paddle.zeros([0], "int64"), batch["gt_class"][1]]}
    found = model.extract({**mixed, "labelled": paddle.to_tensor([False, True])})
    np.testing.assert_array_equal(rows(found, 0), best[0].numpy())
    assert np.abs(rows(found, 1) - best[1].numpy()).max() > 0


def test_a_teacher_answers_at_the_proposals_of_the_student(config, model, batch):
    paddle.seed(5)
    teacher = build_detector(config("FPN.out_channel=8"))
    teacher.eval()
    model.train()
    student = model.extract(batch)
    found = teacher.extract(batch, like=student)
    np.testing.assert_array_equal(found.proposals.numpy(), student.proposals.numpy())
    assert found.roi_features.shape == [2, 24, 8, 7, 7]
    np.testing.assert_array_equal(found.roi_features.numpy(), teacher.pool(found, student.proposals).numpy())
    assert len(teacher.extract(batch, like=model.extract(batch).images(paddle.to_tensor([0, 1]))).rpn_logits) == 5


def test_an_image_is_judged_alone(model, batch):
    model.eval()
    alone = {key: value[1:] for key, value in batch.items()}
    with paddle.no_grad():
        together, single = model.extract(batch), model.extract(alone)
    np.testing.assert_allclose(together.proposals[1].numpy(), single.proposals[0].numpy(), atol=1e-3)
    np.testing.assert_allclose(together.roi_logits[1].numpy(), single.roi_logits[0].numpy(), atol=1e-4)


def test_padding_does_not_count_in_the_loss(model, batch):
    model.train()
    record = model.extract(batch)
    targets = model.assign(record, batch)
    assert record.real.sum(axis=1).tolist() == [24, 24]
    fewer = dataclasses.replace(record, real=paddle.arange(24) < paddle.to_tensor([[20], [24]]))
    labels = model.assign(fewer, batch).roi_labels
    assert (labels[0, 20:] == -1).all()
    logits = record.roi_logits + 0
    logits[0, 20:] = 1e4
    garbled = fewer.replaced({"roi_logits": [logits]})
    cut = dataclasses.replace(targets, roi_labels=labels)
    for name in ("loss_bbox_cls", "loss_bbox_reg"):
        assert model.loss(garbled, cut)[name].item() == model.loss(fewer, cut)[name].item()


def test_a_batch_without_boxes_trains_background_only(model, batches):
    model.train()
    losses = model(batches(64, 96, [0, 0], 3))
    losses["loss"].backward()
    assert losses["loss_rpn_reg"].item() == losses["loss_bbox_reg"].item() == 0
    assert losses["loss_bbox_cls"].item() > 0
    assert np.isfinite(model.bbox_head.bbox_delta.weight.grad.numpy()).all()


@pytest.mark.parametrize("nms", [MultiClassNMS(nms_threshold=0.5), DIoUNMS(nms_threshold=0.5)])
def test_every_class_has_boxes_of_its_own(nms):
    """Two proposals whose boxes coincide in class 0 and are apart in class 1."""
    same, left, right = [0.0, 0, 10, 10], [20.0, 0, 30, 10], [40.0, 0, 50, 10]
    boxes = paddle.to_tensor([[[same, left], [same, right]]])
    scores = paddle.to_tensor([[[0.9, 0.8], [0.7, 0.6]]])
    found, counts = nms(boxes, scores)
    assert counts.tolist() == [3]
    ordered = found.numpy()[np.argsort(-found.numpy()[:, 1])]
    np.testing.assert_allclose(ordered, [[0, 0.9, *same], [1, 0.7, *left], [1, 0.6, *right]], rtol=1e-6)


def test_detections_lie_inside_of_the_image(model, batch):
    model.eval()
    model.post_process.nms.score_threshold = 0.0
    scaled = {**batch, "scale_factor": paddle.to_tensor([[0.5, 2.0], [1.0, 1.0]])}
    with paddle.no_grad():
        found = model.predict(scaled)
    first, second = np.split(found["bbox"].numpy(), found["bbox_num"].numpy().cumsum()[:-1])
    assert len(first) > 10
    assert (first[:, 2:] >= 0).all()
    assert (first[:, 2:] <= [64, 192, 64, 192]).all()
    assert first[:, 5].max() > 100
    assert (second[:, 2:] <= [128, 96, 128, 96]).all()
    assert (found["bbox"].numpy()[:, 4:] > found["bbox"].numpy()[:, 2:4]).all()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("RPNHead.anchor_generator.strides=[4,8,16,32,128]", "strides is"),
        ("BBoxAssigner.batch_size_per_im=3", "fg_fraction 0.25"),
        ("RPNHead.anchor_generator.anchor_size=[32]", "did you mean 'anchor_sizes'"),
        ("RPNHead.train_proposal.nms_tresh=0.5", "did you mean 'nms_thresh'"),
        ("BBoxHead.roi_extractor.resolution=14", "resolution is 14"),
        ("BBoxHead.roi_extractor.end_level=5", "end_level 5"),
        ("BBoxAssigner.bg_thresh=0.7", "negative_overlap"),
        ("MobileNet.feature_maps=[4, 6, 13]", "strides"),
    ],
)
def test_settings_that_do_not_fit_together(config, override, words):
    with pytest.raises(ConfigError, match=words):
        build_detector(config(override))


def test_settings_of_the_reference_that_mean_nothing_here_may_stay(config):
    idle = ["RPNHead.anchor_generator.variance=[1,1,1,1]", "BBoxAssigner.cascade_iou=[0.5,0.6,0.7]"]
    check(config(*idle, "BBoxPostProcess.decode={name: RCNNBox, code_type: decode_center_size}"))


def test_settings_without_a_name_belong_to_the_only_class_there_is(config):
    check(config("RPNHead.test_proposal={name: ProposalGenerator, post_nms_top_n: 7}"))
    named = build_detector(config("RPNHead.test_proposal={name: ProposalGenerator, post_nms_top_n: 7}"))
    bare = build_detector(config("RPNHead.test_proposal.post_nms_top_n=7"))
    assert {built.rpn_head.test_proposal.post_nms_top_n for built in (named, bare)} == {7}


@pytest.mark.slow
def test_the_exported_program_takes_any_size(config, model, tmp_path):
    model.eval()
    model.post_process.nms.score_threshold = 0.0
    engine = InferenceEngine(export_model(model, config(*OPEN), tmp_path))
    draw = np.random.default_rng(0)
    for images, height, width in [(1, 160, 192), (2, 64, 96), (3, 32, 32)]:
        batch = {
            "image": draw.standard_normal((images, 3, height, width), np.float32),
            "im_shape": np.tile(np.float32([[height, width]]), (images, 1)),
            "scale_factor": np.tile(np.float32([[0.5, 0.7]]), (images, 1)),
        }
        with paddle.no_grad():
            eager = model.predict({key: paddle.to_tensor(value) for key, value in batch.items()})
        found, counts = engine(batch)
        np.testing.assert_array_equal(counts, eager["bbox_num"].numpy())
        np.testing.assert_allclose(found, eager["bbox"].numpy(), rtol=1e-4, atol=1e-3)

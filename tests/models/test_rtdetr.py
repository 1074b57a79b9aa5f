"""RT-DETR beyond the reference's numbers: what it records, assigns, predicts and exports, and that it learns."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import paddle
import pytest
from one_picture import batch as one_picture
from one_picture import check_learning
from parity_fill import image_batch

from ppkd.config import load_config
from ppkd.deploy import export_model
from ppkd.deploy.engine import InferenceEngine
from ppkd.models import build_detector
from ppkd.models.assigners.hungarian_matcher import HungarianMatcher
from ppkd.models.backbones.hgnet_v2 import PPHGNetV2
from ppkd.models.backbones.resnet import ResNet
from ppkd.models.layers.rep_vgg import merged
from ppkd.models.losses.focal_loss import FocalLoss
from ppkd.models.losses.normaliser import NormaliserBook
from ppkd.models.postprocess.detr_post_process import DETRPostProcess
from ppkd.models.transformers.anchors import rows_at
from ppkd.models.transformers.denoising import denoising
from ppkd.models.transformers.queries import Boxes
from ppkd.structures import Points
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

SMALL = ["num_classes=4", "DETR.backbone=MobileNetV1", "MobileNetV1.scale=0.25", "MobileNetV1.feature_maps=[4,6,13]"]
CONFIG = "configs/shapes/rtdetr_r18_160_shapes.yml"


@pytest.fixture(scope="module")
def small(root):
    """Builds a small detector of four classes, its weights drawn from seed 0, with overrides."""

    def build(*overrides):
        paddle.seed(0)
        return build_detector(load_config(root / CONFIG, [*SMALL, *overrides]))

    return build


def truth(*rows):
    """Ground truth of one image: cx, cy, w, h, label of each box."""
    numbers = np.array(rows, "float32").reshape(1, -1, 5)
    labels = paddle.to_tensor(numbers[..., 4].astype("int64"))
    return Boxes(paddle.to_tensor(numbers[..., :4]), labels, paddle.ones_like(labels).astype("bool"))


def test_the_assignment_has_the_least_cost():
    paddle.seed(0)
    boxes = truth([0.2, 0.3, 0.1, 0.2, 0], [0.7, 0.5, 0.4, 0.3, 2], [0.5, 0.5, 0.9, 0.9, 1])
    logits, answered = paddle.randn([2, 1, 5, 3]), paddle.rand([2, 1, 5, 4]) * 0.5 + 0.2
    matcher = HungarianMatcher(matcher_coeff={"class": 2, "bbox": 5, "giou": 2})
    owners = matcher(logits, answered, boxes).numpy()
    costs = matcher.costs(logits, answered, boxes).numpy()
    for owner, cost in zip(owners[:, 0], costs[:, 0], strict=True):
        queries = [int(np.flatnonzero(owner == i).item()) for i in range(3)]
        least = min(sum(cost[q, i] for i, q in enumerate(chosen)) for chosen in permutations(range(5), 3))
        assert sum(cost[q, i] for i, q in enumerate(queries)) == pytest.approx(least)


def test_more_boxes_than_queries_padding_and_numbers_that_are_not_finite():
    boxes = truth(*[[0.5, 0.5, 0.1 * i, 0.2, 0] for i in range(1, 6)])
    boxes = Boxes(boxes.boxes, boxes.labels, paddle.to_tensor([[True, True, True, True, False]]))
    matcher = HungarianMatcher()
    answered = paddle.full([1, 1, 3, 4], 0.5)
    for logits in (paddle.zeros([1, 1, 3, 2]), paddle.full([1, 1, 3, 2], float("nan"))):
        owner = matcher(logits, answered, boxes).numpy().flatten()
        assert len(set(owner)) == 3
        assert set(owner) <= {0, 1, 2, 3}
    nothing = Boxes(boxes.boxes, boxes.labels, paddle.zeros([1, 5], "bool"))
    assert (matcher(paddle.zeros([1, 1, 3, 2]), answered, nothing) == -1).all()


def test_spoilt_boxes_stay_near_if_positive_and_move_away_if_not():
    paddle.seed(0)
    boxes = truth([0.4, 0.5, 0.2, 0.2, 1], [0.6, 0.5, 0.2, 0.3, 0])
    spoilt = denoising(boxes, queries=20, num_classes=2, label_noise_ratio=0.0, box_noise_scale=1.0)
    assert spoilt.labels.shape == [1, 10, 4]
    found = paddle.nn.functional.sigmoid(spoilt.references).reshape([10, 2, 2, 4])
    corners = [part.numpy() for part in (found[..., :2] - found[..., 2:] / 2, boxes.boxes[0, :, :2])]
    sizes = boxes.boxes[0, :, 2:].numpy()
    moved = np.abs(corners[0] - (corners[1] - sizes / 2)) / (sizes / 2)
    upright = found[..., 2:].numpy() > 1e-4
    assert upright.sum() > 50
    near, far = (moved[:, part][upright[:, part]] for part in range(2))
    assert (near <= 1.0001).all()
    assert ((far >= 0.999) & (far <= 2.0001)).all()
    np.testing.assert_array_equal(spoilt.shown.reshape([10, 2, 2]).numpy()[:, 0], [[1, 0]] * 10)


def test_training_records_the_same_queries_and_spoilt_boxes_beside_them(small):
    model, batch = small(), one_picture()
    model.train()
    record = model.extract(batch)
    assert record["query_logits"][0].shape == [2, 60, 4]
    assert record.beside["dn_logits"][0].shape == [2, 60, 4]
    spoilt = {"dn_logits", "dn_boxes", "dn_labels", "dn_targets"}
    assert set(record.beside) == {"enc_logits", "enc_boxes", "enc_cells", *spoilt}
    second = record.thinned(()).images(paddle.to_tensor([1]))
    assert second.beside["dn_labels"][0].shape[0] == 1
    terms = model.loss(second, model.assign(second, Truth.of(batch).images(paddle.to_tensor([1]))))
    assert {name for name, value in terms.items() if value.item()} == {"loss_class", "loss_class_aux", *(
        f"loss_class{suffix}_dn" for suffix in ("", "_aux"))}  # fmt: skip
    batch["gt_bbox"][0], batch["gt_class"][0] = batch["gt_bbox"][1], batch["gt_class"][1]
    assert "dn_logits" not in model.extract(batch).beside
    assert set(model(batch)) == {*terms, "loss"}


def test_at_its_own_points_a_decoder_says_what_it_said(small):
    model, batch = small(), one_picture()
    model.eval()
    record = model.extract(batch)
    points = model.points(record)
    assert points.boxes.shape == [2, 60, 4] and points.cells.shape == [2, 60]
    again = model.answer(record, points)
    for name in ("query_features", "query_logits", "query_boxes"):
        for said, before in zip(again[name], record[name], strict=True):
            np.testing.assert_allclose(said.numpy(), before.numpy(), atol=2e-5)
    second = model.answer(record.images(paddle.to_tensor([1])), model.points(record.images(paddle.to_tensor([1]))))
    np.testing.assert_allclose(second["query_boxes"][-1].numpy(), again["query_boxes"][-1][1:].numpy(), atol=2e-5)


def test_another_s_points_reach_decoder_and_memory_but_not_the_encoder_s_selection(small):
    model, batch = small(), one_picture()
    model.train()
    record = model.extract(batch)
    places = Points(paddle.rand([2, 7, 4]) * 0.5 + 0.2)
    places.boxes.stop_gradient = False
    said = model.answer(record, places.detach())
    assert [stage.shape for stage in said["query_boxes"]] == [[2, 7, 4]] * 3 and not said.beside
    (said["query_logits"][-1].sum() + said["query_boxes"][-1].sum()).backward()
    reached = {name for name, one in model.transformer.named_parameters() if one.grad is not None}
    assert {name.split(".")[0] for name in reached} == {
        *("input_proj", "decoder", "query_pos_head", "dec_score_head", "dec_bbox_head"),
    }
    assert places.boxes.grad is None
    assert all(one.grad is not None for one in model.neck.parameters() if not one.stop_gradient)


def test_a_random_box_looks_at_the_level_of_its_size_between_cells():
    maps = [paddle.randn([1, 2, size, size]) for size in (8, 4, 2)]
    boxes = paddle.to_tensor([[[0.25, 0.5, 0.05, 0.06], [0.5, 0.5, 0.1, 0.1], [0.9, 0.2, 0.9, 0.8]]])
    found = rows_at(maps, boxes).numpy()[0]
    fine, middle, coarse = (level.numpy()[0] for level in maps)
    np.testing.assert_allclose(found[0], fine[:, 3:5, 1:3].mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(found[1], middle[:, 1:3, 1:3].mean(axis=(1, 2)), atol=1e-6)
    np.testing.assert_allclose(found[2], coarse[:, 0, 1], atol=1e-6)


def test_batches_of_one_image_add_up_to_a_batch_of_both(small):
    """The number of boxes is that of the whole update; no denoising, which is drawn anew."""
    model, both = small("RTDETRTransformer.num_denoising=0"), one_picture()
    model.eval()
    parts = [{key: value[i : i + 1] for key, value in both.items()} for i in range(2)]
    book = NormaliserBook(2)
    for part in parts:
        with book.counting():
            model(part)
    book.close()
    added = []
    for part in parts:
        with book.given():
            added.append(model(part)["loss"].item())
    assert np.mean(added) == pytest.approx(model(both)["loss"].item(), rel=1e-5)


def test_the_last_layer_alone_and_the_focal_loss(small):
    """With ``aux_loss`` off only the last layer answers for the loss; the class term is the focal loss."""
    model, batch = small("DINOHead.loss.aux_loss=false", "DINOHead.loss.use_vfl=false"), one_picture()
    model.train()
    record = model.extract(batch)
    targets = model.assign(record, batch)
    terms = model.loss(record, targets)
    assert set(terms) == {f"loss_{name}{suffix}" for name in ("class", "bbox", "giou") for suffix in ("", "_dn")}
    wanted = FocalLoss()(record["query_logits"][-1], targets.stages[-1].labels) / 2
    assert terms["loss_class"].item() == pytest.approx(wanted.item(), rel=1e-6)


def test_predictions_come_from_the_layer_that_evaluates(small):
    model, batch = small("RTDETRTransformer.eval_idx=1", "DETRPostProcess.num_top_queries=5"), one_picture()
    model.eval()
    with paddle.no_grad():
        record, found = model.extract(batch), model.predict(batch)
    scores = paddle.nn.functional.sigmoid(record["query_logits"][1]).flatten(1)
    best = scores.topk(5)[0].flatten()
    np.testing.assert_allclose(found["bbox"][:, 1].numpy(), best.numpy(), rtol=1e-6)
    assert found["bbox_num"].tolist() == [5, 5]


def test_boxes_of_a_padded_image_are_in_its_own_pixels():
    """An image of 100 x 50 (height, width), twice as large in an input of 224 x 128."""
    shape, scale = paddle.to_tensor([[200.0, 100.0]]), paddle.to_tensor([[2.0, 2.0]])
    boxes = paddle.to_tensor([[[0.25, 0.5, 0.25, 0.5]]])
    found = DETRPostProcess(num_classes=1)(paddle.zeros([1, 1, 1]), boxes, paddle.to_tensor([224, 128]), shape, scale)
    np.testing.assert_allclose(found["bbox"].numpy(), [[0, 0.5, 8, 28, 24, 84]], rtol=1e-6)


@pytest.mark.slow
def test_the_exported_model_gives_the_same_at_any_size(small, root, tmp_path):
    model = small()
    model.eval()
    config = load_config(root / CONFIG, [*SMALL, "TestReader.inputs_def.image_shape=[3,-1,-1]"])
    engine = InferenceEngine(export_model(model, config, tmp_path))
    shipped = merged(model)
    for height, width in ((160, 160), (64, 128)):
        batch = {
            "image": image_batch(1, height, width),
            "im_shape": np.float32([[height, width]]),
            "scale_factor": np.float32([[0.5, 0.5]]),
        }
        with paddle.no_grad():
            eager = shipped.predict({key: paddle.to_tensor(value) for key, value in batch.items()})
        np.testing.assert_array_equal(engine(batch)[0], eager["bbox"].numpy())


@pytest.mark.slow
def test_one_picture_is_learned_by_heart(small):
    check_learning(small(), 2e-3, 60)


def test_the_stem_alone_is_frozen():
    backbone = ResNet(depth=18, freeze_at=0, freeze_stem_only=True, freeze_norm=False)
    trained = {name.split(".")[0] for name, parameter in backbone.named_parameters() if not parameter.stop_gradient}
    assert trained == {"res2", "res3", "res4", "res5"}


def test_wrong_settings_are_named(small):
    with pytest.raises(ConfigError, match=r"eval_idx 3 for 3 decoder layers"):
        small("RTDETRTransformer.eval_idx=3")
    with pytest.raises(ConfigError, match=r"hidden_dim is 32, its encoder_layer.d_model 64"):
        small("HybridEncoder.hidden_dim=32")
    with pytest.raises(ConfigError, match=r"return_idx is \[4\]"):
        PPHGNetV2(arch="L", return_idx=[4])

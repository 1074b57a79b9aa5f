"""GFL: losses, distributions, quality and assignment against the authors' numbers and by hand, and the export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from narrow import narrow
from parity_fill import fill, load_case

from ppkd.config import load_config
from ppkd.deploy import export_model
from ppkd.deploy.engine import InferenceEngine
from ppkd.models import build_detector
from ppkd.models.assigners.atss_assigner import ATSSAssigner
from ppkd.models.heads.dgqp import DGQP
from ppkd.models.heads.integral import Integral
from ppkd.models.losses.distribution_focal_loss import DistributionFocalLoss
from ppkd.models.losses.giou_loss import GIoULoss
from ppkd.models.losses.quality_focal_loss import QualityFocalLoss
from ppkd.structures import scores
from ppkd.structures.boxes import decode_distances, encode_distances, pairwise_iou
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "fixtures" / "golden"
SMALL = [
    "num_classes=3",
    "FPN.out_channel=32",
    "GFLHead.conv_feat.feat_in=32",
    "GFLHead.conv_feat.feat_out=32",
    "GFLHead.conv_feat.num_convs=1",
]
REFERENCE_HEAD = """
GFL: {head: {name: GFLHead, loss_qfl: null, bbox_assigner: null, feat_in_chan: 256,
             loss_class: {name: QualityFocalLoss, use_sigmoid: true, beta: 1.5}}}
FPN: {spatial_scales: [0.125, 0.0625, 0.03125]}
TrainReader: {batch_transforms: [{Gt2GFLTarget: {downsample_ratios: [8, 16, 32, 64, 128], grid_cell_scale: 8}}]}
"""


def golden(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    hyper = json.loads((GOLDEN / "gfl.json").read_text())[name]
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        return hyper, dict(arrays)


def leaf(array: np.ndarray) -> Any:
    return paddle.to_tensor(array.astype("float32"), stop_gradient=False)


def assert_gradient(tensor: Any, expected: np.ndarray) -> None:
    np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=1e-4, atol=1e-6 * max(1, np.abs(expected).max()))


@pytest.fixture(scope="module")
def config(root):
    def load(name: str, *overrides: str) -> Any:
        path = root / "configs" / "gfl" / f"{name}.yml"
        return load_config(path, [*narrow(load_config(path)), *SMALL, *overrides])

    return load


@pytest.fixture(scope="module", params=["gfl_r50_fpn_1x_coco", "gflv2_r50_fpn_1x_coco"])
def model(config, request):
    """A narrow GFL of three classes, of either version, that is sure of enough cells to return boxes."""
    paddle.seed(0)
    built = build_detector(config(request.param, "GFLHead.prior_prob=0.2", "GFLHead.nms_pre=100"))
    built.eval()
    return built


@pytest.mark.parametrize("name", ["qfl_plain", "qfl_sigmoid", "qfl_prob_v2"])
def test_quality_focal_loss(name):
    hyper, arrays = golden(name)
    loss = QualityFocalLoss(use_sigmoid=hyper["use_sigmoid"], beta=hyper["beta"], loss_weight=hyper["loss_weight"])
    predicted = leaf(arrays["in.pred"])
    rows = [paddle.to_tensor(arrays[f"in.{key}"]) for key in ("label", "score", "weight")]
    value = loss(predicted, *rows) / (hyper["avg_factor"] or len(arrays["in.pred"]))
    assert value.item() == pytest.approx(arrays["out.loss"].item(), rel=1e-5)
    value.backward()
    assert_gradient(predicted, arrays["grad.pred"])


@pytest.mark.parametrize("name", ["dfl_a", "dfl_b"])
def test_distribution_focal_loss(name):
    hyper, arrays = golden(name)
    logits = leaf(arrays["in.pred"])
    target, weight = (paddle.to_tensor(arrays[f"in.{key}"].astype("float32")) for key in ("target", "weight"))
    value = DistributionFocalLoss(loss_weight=hyper["loss_weight"])(logits, target, weight) / hyper["avg_factor"]
    assert value.item() == pytest.approx(arrays["out.loss"].item(), rel=1e-5)
    value.backward()
    assert_gradient(logits, arrays["grad.pred"])


@pytest.mark.parametrize("name", ["integral_a", "integral_b"])
def test_boxes_of_distributions_and_distances_of_boxes(name):
    hyper, arrays = golden(name)
    logits = leaf(arrays["in.pred"])
    points, boxes = (paddle.to_tensor(arrays[f"in.{key}"]) / hyper["stride"] for key in ("points", "gt"))
    distances = Integral(reg_max=hyper["reg_max"])(logits)
    np.testing.assert_allclose(distances.numpy(), arrays["out.distance"], rtol=1e-5, atol=1e-6)
    decoded = decode_distances(points, distances)
    np.testing.assert_allclose(decoded.numpy(), arrays["out.box_stride_units"], rtol=1e-5, atol=1e-5)
    target = encode_distances(points, boxes).clip(0, hyper["reg_max"] - hyper["eps"])
    np.testing.assert_allclose(target.numpy(), arrays["out.dfl_target"], rtol=1e-5, atol=1e-5)
    distances.sum().backward()
    assert_gradient(logits, arrays["grad.pred"])


@pytest.mark.parametrize("name", ["dgqp_a", "dgqp_nomean"])
def test_quality_of_distributions(name):
    hyper, arrays = golden(name)
    module = DGQP(**{key: hyper[key] for key in ("reg_topk", "reg_channels", "add_mean")})
    names = {module.reg_conv1: "reg_conf.0", module.reg_conv2: "reg_conf.2"}
    for conv, published in names.items():
        conv.weight.set_value(fill(f"{published}.weight", conv.weight.shape))
        conv.bias.set_value(fill(f"{published}.bias", conv.bias.shape))
    quality = module(paddle.to_tensor(arrays["out.bbox_pred"]))
    logits = paddle.to_tensor(arrays["out.cls_logits"])
    rated = paddle.nn.functional.sigmoid(logits) * quality
    np.testing.assert_allclose(rated.numpy(), arrays["out.cls_score"], rtol=1e-5, atol=1e-7)
    (rated * paddle.to_tensor(arrays["in.upstream"])).sum().backward()
    for conv, published in names.items():
        assert_gradient(conv.weight, arrays[f"grad.param.{published}.weight"])
        assert_gradient(conv.bias, arrays[f"grad.param.{published}.bias"])


def one_image(boxes: np.ndarray, labels: np.ndarray) -> Truth:
    return Truth.of({"gt_bbox": [paddle.to_tensor(boxes)], "gt_class": [paddle.to_tensor(labels)]})


@pytest.mark.parametrize("name", ["assign_a", "assign_crowded"])
def test_assignment_of_the_authors(name):
    hyper, arrays = golden(name)
    anchors = paddle.to_tensor(arrays["in.anchors"].astype("float32"))
    truth = one_image(arrays["in.gt_bbox"].astype("float32"), arrays["in.gt_label"].astype("int64"))
    assigner = ATSSAssigner(topk=hyper["topk"], deviation="sample")
    found = assigner(anchors, hyper["level_sizes"], truth)
    positive, box = found.positive.numpy()[0], found.box.numpy()[0]
    np.testing.assert_array_equal(np.where(positive, box + 1, 0), arrays["out.assigned_gt_inds"])
    overlap = pairwise_iou(truth.boxes, anchors.unsqueeze(0)).numpy()[0][box, np.arange(len(box))]
    np.testing.assert_allclose(np.where(positive, overlap, 0), arrays["out.max_overlaps"], rtol=1e-5, atol=1e-6)
    alone = assigner.thresholds(anchors, hyper["level_sizes"], truth)
    np.testing.assert_array_equal(alone.numpy(), found.threshold.numpy())


def test_assignment_of_the_reference(config, batches):
    """Labels, boxes and the number of positives that PaddleDetection's reader prepares."""
    arrays = load_case("gfl_r50_fpn")[1]
    model = build_detector(config("gfl_r50_fpn_1x_coco", "num_classes=80"))
    batch = batches(128, 160, [3, 1], 80)
    with paddle.no_grad():
        targets = model.assign(model.extract(batch), batch)
    np.testing.assert_array_equal(targets.anchors.numpy(), arrays["in.grid_cells"][0])
    np.testing.assert_array_equal(targets.labels.numpy(), arrays["in.labels"])
    np.testing.assert_array_equal(targets.positive.sum(axis=1).numpy(), arrays["in.pos_num"])
    boxes = (targets.boxes * targets.positive.unsqueeze(-1)).numpy()
    np.testing.assert_allclose(boxes, arrays["in.bbox_targets"], rtol=1e-6)
    assert [level.shape[1] for level in targets.levels(targets.labels)] == [320, 80, 20, 6, 2]


def test_targets_of_an_image_do_not_depend_on_the_others(model, batches):
    both = batches(96, 128, [4, 1, 0], 3)
    alone = {key: value[1:2] for key, value in both.items()}
    together, single = (model.assign(model.extract(batch), batch) for batch in (both, alone))
    assert single.positive.sum().item() > 0
    assert together.positive[2].sum().item() == 0
    for entry in ("labels", "positive", "boxes"):
        np.testing.assert_array_equal(getattr(together, entry)[1:2].numpy(), getattr(single, entry).numpy())


def test_version_2_records_its_quality(model, batches):
    record = model.extract(batches(64, 96, [1, 0], 3))
    assert record.spec == model.spec()
    second = model.head.dgqp_module is not None
    assert record.spec.of("quality") == (("quality",) if second else ())
    for i, (level, score) in enumerate(zip(record.cls_logits, scores(record), strict=True)):
        expected = paddle.nn.functional.sigmoid(level)
        if second:
            assert record.quality[i].shape == [2, 1, 1, *level.shape[3:]]
            expected = expected * model.head.dgqp_module(record.box_dist[i].squeeze(1)).unsqueeze(1)
        np.testing.assert_allclose(score.numpy(), expected.numpy(), rtol=1e-6)


def test_a_batch_without_boxes_trains_the_classes_only(model, batches):
    model.clear_gradients()
    losses = model(batches(64, 96, [0, 0], 3))
    losses["loss"].backward()
    assert losses["loss_bbox"].item() == losses["loss_dfl"].item() == 0
    assert losses["loss_qfl"].item() > 0
    assert paddle.abs(model.head.gfl_head_cls.weight.grad).sum().item() > 0
    if model.head.dgqp_module is None:
        assert paddle.abs(model.head.gfl_head_reg.weight.grad).sum().item() == 0


def test_giou_of_hand_worked_cases():
    """Equal boxes; two unit squares in a box of area 4; a box that does not count."""
    predicted = paddle.to_tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]])
    target = paddle.to_tensor([[0.0, 0.0, 2.0, 1.0], [1.0, 1.0, 2.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    weight = paddle.to_tensor([1.0, 0.5, 0.0])
    assert GIoULoss(loss_weight=2.0)(predicted, target, weight).item() == pytest.approx(2 * 0.5 * 1.5, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mkldnn", [False, True])
def test_the_exported_program_takes_any_size(model, config, tmp_path, mkldnn):
    """Sizes at which levels hold fewer cells than are decoded, one cell included, and batches of any length."""
    engine = InferenceEngine(export_model(model, config("gfl_r50_fpn_1x_coco"), tmp_path), enable_mkldnn=mkldnn)
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
        assert counts.sum() > 0
        np.testing.assert_array_equal(counts, eager["bbox_num"].numpy())
        np.testing.assert_allclose(rows, eager["bbox"].numpy(), rtol=1e-4, atol=1e-3 if mkldnn else 1e-4)


def test_a_file_of_the_reference_carries_over(root, tmp_path):
    """Its head names the class loss otherwise and leaves the assigner to the reader."""
    file = tmp_path / "gfl.yml"
    file.write_text(f"_BASE_: [{root}/configs/gfl/gfl_r18vd_1x_coco.yml]\n" + REFERENCE_HEAD)
    built = build_detector(load_config(file))
    assert built.head.loss_qfl.beta == 1.5
    assert built.head.bbox_assigner.topk == 9


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("GFLHead.fpn_stride=[8,16,32,64]", "fpn_stride is"),
        ("GFLHead.conv_feat.feat_in=64", "feat_in is 64"),
        ("GFLHead.feat_in_chan=64", "feat_in_chan is 64"),
        ("GFLHead.loss_qfl.use_sigmoid=false", "use_sigmoid is False"),
        ("GFLHead.loss_class=QualityFocalLoss", "either loss_qfl or loss_class"),
        ("GFLHead.bbox_assigner.deviation=half", "deviation"),
    ],
)
def test_settings_that_do_not_fit_together(config, override, words):
    with pytest.raises(ConfigError, match=words):
        build_detector(config("gfl_r50_fpn_1x_coco", override))


def test_a_batch_of_unsure_cells_is_divided_by_one(model, batches):
    """Box terms are weighted by scores, whose sum is below 1 here: PaddleDetection divides by 1 then."""
    batch = batches(128, 160, [1, 0], 3)
    record = model.extract(batch)
    unsure = record.replaced({"cls_logits": [paddle.full_like(level, -8.0) for level in record.cls_logits]})
    unsurer = record.replaced({"cls_logits": [paddle.full_like(level, -9.0) for level in record.cls_logits]})
    first, second = (model.loss(one, model.assign(one, batch)) for one in (unsure, unsurer))
    for name in ("loss_bbox", "loss_dfl"):
        factor = first[name].item() / second[name].item()
        assert factor == pytest.approx((1 + np.exp(9)) / (1 + np.exp(8)), rel=1e-4)

"""FGFI and DeFeat's necks against the authors' code, and what must hold beyond its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, fill_formula, golden, golden_names, leaf, listed
from sides import side

from ppkd.config import load_config
from ppkd.distill import Progress
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.cells.boxes import cells_inside, cells_of_anchors
from ppkd.distill.losses import FGFI, DeFeat, DeFeatFeatureLoss, FGFIFeatureLoss
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

SLIM = Path(__file__).resolve().parents[2] / "slim/distill"
LOSSES = [FGFI, DeFeat]
BOXES = [[10.0, 20.0, 60.0, 70.0], [6.0, 4.0, 122.0, 120.0], [90.0, 90.0, 98.0, 97.0]]


def spec(strides, channels=4, name="Some"):
    levels = tuple(LevelSpec(channels, stride) for stride in strides)
    return DetectorSpec(name, 3, {"neck": Entry("feature", "grid", levels)})


def necks(of, images=2, seed=0):
    paddle.seed(seed)
    levels = of.entries["neck"].levels
    maps = [leaf(paddle.randn([images, at.channels, 128 // at.stride, 128 // at.stride]).numpy()) for at in levels]
    return Record(of, {"neck": maps})


def boxes(*counts):
    return Truth.of({"gt_bbox": [paddle.to_tensor(BOXES)[:count] for count in counts]})


def value_of(loss, student, teacher, truth):
    return loss(side(student), side(teacher), truth, Progress())


def identical(loss):
    """The loss whose adapters are identities."""
    for formula in loss.formulas:
        for layer in formula.sublayers():
            if isinstance(layer, paddle.nn.Conv2D):
                kernel = np.zeros(layer.weight.shape, "float32")
                kernel[range(len(kernel)), range(len(kernel)), 1, 1] = 1
                layer.weight.set_value(kernel)
    return loss


def wired(name, kind, **settings):
    """A golden case: the loss on its levels, records and the ground truth."""
    meta, arrays = golden(name)
    strides = meta["hyper"]["strides"]
    channels = arrays["in.feat_s.0"].shape[1]
    of = spec(strides, channels)
    loss = kind(of, of, **settings)
    if loss.parameters():
        conv = "adapt.0" if kind is FGFI else "adapt"
        fill_formula(loss, meta["params"], {f"neck_adapt.{i}.0": f"formulas.{i}.{conv}" for i in range(len(strides))})
    truth = Truth.of({"gt_bbox": listed(arrays, "in.gt_bbox")})
    student, teacher = ([leaf(arrays[f"in.feat_{of}.{i}"]) for i in range(len(strides))] for of in "st")
    return loss, arrays, Record(of, {"neck": student}), Record(of, {"neck": teacher}), truth


def check(name, kind, term, **settings):
    loss, arrays, student, teacher, truth = wired(name, kind, **settings)
    strides = student.spec.entries["neck"].strides
    sizes = [(stride, *level.shape[2:]) for stride, level in zip(strides, student.neck, strict=True)]
    masks = loss.cells.masks(truth, sizes)
    for i, mask in enumerate(masks):
        assert_close(mask, arrays[f"out.mask.{i}"], rtol=0)
    value = loss.weight * value_of(loss, student, teacher, truth)
    assert_close(value, arrays[f"out.{term}"], rtol=1e-5)
    value.backward()
    for i, level in enumerate(student.neck):
        expected = arrays[f"grad.{term}.feat_s.{i}"]
        found = level.grad.sum(axis=[2, 3]) if expected.ndim == 2 else level.grad
        assert_close(found, expected, rtol=1e-4, atol=1e-5 * max(abs(expected).max(), 1e-3), message=f"level {i}")
        assert teacher.neck[i].grad is None
    for key, parameter in loss.named_parameters():
        number, leaf_name = key.split(".")[1], key.rsplit(".", 1)[1]
        expected = arrays[f"grad.{term}.param.neck_adapt.{number}.0.{leaf_name}"]
        assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-5 * max(abs(expected).max(), 1e-3), message=key)


@pytest.mark.parametrize(("term", "weights"), [("losskd_neck", (3.0, 0.0)), ("losskd_neck_back", (0.0, 12.0))])
@pytest.mark.parametrize(("name", "adapt"), [("defeat_neck_published", True), ("defeat_neck_cls", False)])
def test_defeat(name, adapt, term, weights):
    check(name, DeFeat, term, adapt=adapt, foreground=weights[0], background=weights[1], second_level_side=56.0)


def test_fgfi_on_a_pyramid():
    check("defeat_fgfi_roi", FGFI, "losskd_neck", second_level_side=56.0)


@pytest.mark.parametrize("name", golden_names("fgfi_"))
def test_fgfi_as_published(name):
    meta, arrays = golden(name)
    boxes = paddle.to_tensor(arrays["in.gt_boxes"])
    channels, height, width = arrays["in.feat_s"].shape[1:]
    anchors = paddle.to_tensor(arrays["in.base_anchors"])
    real = boxes.abs().sum(axis=2) > 0
    mask = cells_of_anchors(boxes, real, anchors, meta["hyper"]["stride"], height, width, pixel=1.0)
    assert_close(mask, arrays["out.mask"], rtol=0)
    formula = FGFIFeatureLoss(channels, channels, relu=True, channel_mean=False)
    fill_formula(formula, meta["params"], {"stu_feature_adap": "adapt"})
    student, teacher = leaf(arrays["in.feat_s"]), leaf(arrays["in.feat_t"])
    value = meta["hyper"]["imitation_loss_weight"] * formula(student, teacher, mask)
    assert_close(value, arrays["out.loss"], rtol=1e-5)
    value.backward()
    assert_close(student.grad, arrays["grad.feat_s"], rtol=1e-4, atol=1e-7)
    for key, parameter in formula.named_parameters():
        assert_close(parameter.grad, arrays[f"grad.param.stu_feature_{key.replace('adapt', 'adap')}"], 1e-4, 1e-7)


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_records_under_identities_cost_nothing(loss):
    of = spec((8, 16, 32))
    student = necks(of)
    value = value_of(identical(loss(of, of)), student, necks(of), boxes(3, 1))
    value.backward()
    assert abs(value.item()) < 1e-6
    assert all(np.abs(level.grad.numpy()).max() < 1e-6 for level in student.neck)


@pytest.mark.parametrize("loss", LOSSES)
def test_without_any_box_the_background_alone_counts_and_every_parameter_has_a_gradient(loss):
    of = spec((8, 16, 32))
    student, teacher, built = necks(of), necks(of, seed=1), identical(loss(of, of))
    value = value_of(built, student, teacher, boxes(0, 0))
    value.backward()
    if loss is DeFeat:
        gaps = [(a - b) ** 2 for a, b in zip(student.neck, teacher.neck, strict=True)]
        assert value.item() == pytest.approx(12 * sum(gap.mean().item() / 2 for gap in gaps) / 3, rel=1e-5)
    else:
        assert value.item() == 0
    assert all(parameter.grad is not None for parameter in built.parameters())


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_boxes_and_images_changes_nothing(loss):
    of = spec((8, 16, 32))
    built, student, teacher, truth = identical(loss(of, of)), necks(of), necks(of, seed=1), boxes(3, 1)
    order = paddle.to_tensor([1, 0])
    turned = Truth.around(truth.boxes.index_select(order, axis=0).flip(axis=1))
    found = value_of(built, student.images(order), teacher.images(order), turned)
    assert found.item() == pytest.approx(value_of(built, student, teacher, truth).item(), rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_pyramids_of_other_depth_pair_where_they_meet(loss):
    small, large = spec((8, 16, 32)), spec((16, 32, 64))
    student, teacher = necks(small), necks(small, seed=1)
    chosen = value_of(identical(loss(small, small, strides=[16, 32])), student, teacher, boxes(3, 1)).item()
    deeper = Record(large, {"neck": [*teacher.neck[1:], necks(large).neck[2]]})
    assert value_of(identical(loss(small, large)), student, deeper, boxes(3, 1)).item() == pytest.approx(chosen)


def test_boxes_for_all_levels():
    of = spec((8, 16, 32))
    levels = [(8, 16, 16), (16, 8, 8), (32, 4, 4)]
    by_size, everywhere = (FGFI(of, of, **how).cells.masks(boxes(1), levels) for how in ({}, {"by_size": False}))
    assert [mask.any().item() for mask in by_size] == [False, True, False]
    assert [mask.any().item() for mask in everywhere] == [True, True, True]
    assert_close(by_size[1], everywhere[1].numpy(), rtol=0)


@pytest.mark.parametrize("loss", LOSSES)
def test_boxes_of_a_small_image_spread_over_the_levels(loss):
    """Sides of 8, 30 and 110 pixels in an image of 128; by the published side all are on the finest."""
    of = spec((8, 16, 32))
    levels = [(8, 16, 16), (16, 8, 8), (32, 4, 4)]
    sizes = paddle.to_tensor([[[8.0, 8.0, 16.0, 16.0], [8.0, 8.0, 38.0, 38.0], [8.0, 8.0, 118.0, 118.0]]])
    for rank in range(3):
        one = Truth.around(sizes[:, rank : rank + 1])
        found = [mask.any().item() for mask in loss(of, of).cells.masks(one, levels)]
        assert found == [place == rank for place in range(3)]
        published = [mask.any().item() for mask in loss(of, of, second_level_side=56.0).cells.masks(one, levels)]
        assert published == [True, False, False]


def test_cells_inside_stay_on_the_map():
    boxes = paddle.to_tensor([[[15.0, 0.0, 16.0, 40.0], [130.0, 130.0, 140.0, 140.0], [0.0, 0.0, 0.0, 0.0]]])
    found = cells_inside(boxes, paddle.to_tensor([[True, True, False]]), 16, 8, 8)
    assert found.nonzero()[:, 1:].tolist() == [[0, 0], [1, 0], [7, 7]]


def test_unequal_channels_are_adapted_by_what_trains_or_refused():
    small, large = spec((8, 16), 4, "Small"), spec((8, 16), 6, "Large")
    for loss in LOSSES:
        built = loss(small, large)
        value_of(built, necks(small), necks(large, seed=1), boxes(2, 1)).backward()
        assert len(built.parameters()) == 4
        assert all(parameter.grad is not None for parameter in built.parameters())
    with pytest.raises(SpecError, match=r"Small from Large: DeFeat.adapt is false.*4 \(student\)"):
        DeFeat(small, large, adapt=False)
    assert not DeFeatFeatureLoss(4, 4, adapt=False).parameters()


@pytest.mark.parametrize("name", ["fgfi", "defeat"])
def test_slim_files_state_the_published_setting(root, name):
    slim = load_config(str(SLIM / f"{name}.yml"))
    check_slim(slim)
    assert (root / slim["teacher"]["config"]).is_file()
    of = spec((4, 8, 16, 32, 64))
    found, default = build_losses(slim, of, of)[name], {"fgfi": FGFI, "defeat": DeFeat}[name](of, of)
    assert found.weight == default.weight
    keys = ("anchor_scales", "aspect_ratios", "threshold") if name == "fgfi" else ()
    assert [getattr(found.cells, key) for key in keys] == [getattr(default.cells, key) for key in keys]
    if name == "defeat":
        assert [(f.foreground, f.background) for f in found.formulas] == [(3.0, 12.0)] * 5

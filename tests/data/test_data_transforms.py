"""Transforms against values worked by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ppkd.config import build
from ppkd.config.value import freeze
from ppkd.data.transforms import (
    BatchRandomResize,
    BboxXYXY2XYWH,
    Mixup,
    NormalizeBox,
    NormalizeImage,
    Pad,
    PadBatch,
    PadBox,
    PadStride,
    Permute,
    RandomCrop,
    RandomDistort,
    RandomExpand,
    RandomFlip,
    RandomResize,
    Resize,
)
from ppkd.utils.errors import ConfigError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def picture(height: int = 40, width: int = 60) -> np.ndarray:
    return rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)


def sample(boxes: list[list[float]], height: int = 40, width: int = 60, score: float = 1.0) -> dict:
    k = len(boxes)
    return {
        "image": picture(height, width),
        "im_shape": np.array([height, width], np.float32),
        "scale_factor": np.ones(2, np.float32),
        "gt_bbox": np.array(boxes, np.float32).reshape(-1, 4),
        "gt_class": np.arange(k),
        "gt_score": np.full(k, score, np.float32),
        "is_crowd": np.zeros(k, np.int64),
        "difficult": np.arange(k) % 2,
    }


def test_flip_maps_boxes_exactly_and_twice_is_the_identity() -> None:
    flip = RandomFlip(prob=1.0)
    once = flip(sample([[0, 1, 10, 20], [50, 0, 60, 40]]), rng())
    np.testing.assert_array_equal(once["gt_bbox"], [[50, 1, 60, 20], [0, 0, 10, 40]])
    np.testing.assert_array_equal(once["image"], picture()[:, ::-1])
    twice = flip(once, rng())
    np.testing.assert_array_equal(twice["gt_bbox"], [[0, 1, 10, 20], [50, 0, 60, 40]])
    np.testing.assert_array_equal(twice["image"], picture())


def test_flip_happens_as_often_as_asked() -> None:
    never, generator = RandomFlip(prob=0.0), rng()
    assert all((never(sample([]), generator)["image"] == picture()).all() for _ in range(20))
    flipped = [(RandomFlip(prob=0.3)(sample([]), generator)["image"] != picture()).any() for _ in range(300)]
    assert 60 < sum(flipped) < 120


def test_resize_to_a_fixed_size_scales_each_side_by_itself() -> None:
    out = Resize([80, 30], keep_ratio=False)(sample([[6, 4, 60, 40]]))
    assert out["image"].shape == (80, 30, 3)
    np.testing.assert_array_equal(out["im_shape"], [80, 30])
    np.testing.assert_array_equal(out["scale_factor"], [2, 0.5])
    np.testing.assert_array_equal(out["gt_bbox"], [[3, 8, 30, 80]])


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(40, 60, (800, 1200)), (60, 40, (1200, 800)), (40, 100, (533, 1333)), (400, 600, (800, 1200))],
)
def test_resize_keeps_the_ratio_within_both_limits(height: int, width: int, expected: tuple[int, int]) -> None:
    out = Resize([800, 1333], keep_ratio=True)(sample([], height, width))
    assert out["image"].shape[:2] == expected
    scale = min(800 / min(height, width), 1333 / max(height, width))
    np.testing.assert_allclose(out["scale_factor"], [scale, scale], rtol=1e-6)
    np.testing.assert_array_equal(out["im_shape"], expected)


def test_scale_factors_multiply_over_two_resizings() -> None:
    out = Resize(20, keep_ratio=False)(Resize([80, 30], keep_ratio=False)(sample([])))
    np.testing.assert_allclose(out["scale_factor"], [20 / 40, 20 / 60])


def test_resize_drops_what_no_longer_has_an_area() -> None:
    out = Resize(10, keep_ratio=False)(sample([[70, 5, 80, 10], [0, 0, 6, 8]]))
    np.testing.assert_array_equal(out["gt_class"], [1])
    np.testing.assert_array_equal(out["gt_bbox"], [[0, 0, 1, 2]])


def test_random_sizes_come_from_the_list_and_all_occur() -> None:
    generator = rng()
    sizes = {RandomResize([[20, 90], [30, 90]])(sample([]), generator)["image"].shape[:2] for _ in range(30)}
    assert sizes == {(20, 30), (30, 45)}
    shorts = {
        RandomResize([[20, 90], [24, 90]], random_range=True)(sample([]), generator)["image"].shape[0]
        for _ in range(60)
    }
    assert shorts == {20, 21, 22, 23, 24}


def test_a_batch_is_resized_to_one_size_drawn_for_the_batch() -> None:
    resize, seen, generator = BatchRandomResize([32, 64], keep_ratio=False, random_interp=True), set(), rng()
    for _ in range(20):
        shapes = {s["image"].shape for s in resize([sample([]), sample([], 30, 30)], generator)}
        assert len(shapes) == 1
        seen |= shapes
    assert seen == {(32, 32, 3), (64, 64, 3)}


@pytest.mark.parametrize("settings", [{"target_size": 320}, {"target_size": [320], "interp": 9}])
def test_wrong_sizes_are_refused(settings: dict) -> None:
    with pytest.raises(ConfigError):
        BatchRandomResize(**settings)


def test_expansion_shifts_boxes_and_keeps_the_pixels() -> None:
    before = sample([[10, 5, 30, 25]])
    out = RandomExpand(ratio=3.0, prob=0.0, fill_value=[10, 20, 30])(sample([[10, 5, 30, 25]]), rng())
    x, y = (out["gt_bbox"] - before["gt_bbox"])[0, :2].astype(int)
    height, width = out["image"].shape[:2]
    assert 40 < height <= 120
    assert 60 < width <= 180
    np.testing.assert_array_equal(out["gt_bbox"] - before["gt_bbox"], [[x, y, x, y]])
    np.testing.assert_array_equal(out["image"][y : y + 40, x : x + 60], before["image"])
    outside = np.ones((height, width), bool)
    outside[y : y + 40, x : x + 60] = False
    assert (out["image"][outside] == [10, 20, 30]).all()
    np.testing.assert_array_equal(out["im_shape"], [height, width])


def test_crops_keep_boxes_by_their_centre_and_the_overlap_asked_for() -> None:
    boxes = [[0, 0, 12, 12], [20, 10, 50, 35], [55, 30, 60, 40]]
    crop, generator = RandomCrop(thresholds=(0.5,), allow_no_crop=False), rng()
    cropped = 0
    for _ in range(40):
        before = sample(boxes)
        out = crop(sample(boxes), generator)
        height, width = out["image"].shape[:2]
        if (height, width) == (40, 60):
            continue
        cropped += 1
        corner = _find(before["image"], out["image"])
        region = np.array([*corner, corner[0] + width, corner[1] + height])
        centres = (before["gt_bbox"][:, :2] + before["gt_bbox"][:, 2:]) / 2
        inside = ((centres >= region[:2]) & (centres < region[2:])).all(axis=1)
        np.testing.assert_array_equal(out["gt_class"], np.flatnonzero(inside))
        expected = np.clip(before["gt_bbox"][inside] - [*corner, *corner], 0, [width, height] * 2)
        np.testing.assert_allclose(out["gt_bbox"], expected)
        assert _best_iou(region, before["gt_bbox"]) >= 0.5
    assert cropped > 10


def _find(image: np.ndarray, part: np.ndarray) -> tuple[int, int]:
    match = cv2.matchTemplate(image, np.ascontiguousarray(part), cv2.TM_SQDIFF)
    y, x = np.unravel_index(match.argmin(), match.shape)
    return int(x), int(y)


def _best_iou(region: np.ndarray, boxes: np.ndarray) -> float:
    best = 0.0
    for x1, y1, x2, y2 in boxes:
        width = min(region[2], x2) - max(region[0], x1)
        height = min(region[3], y2) - max(region[1], y1)
        common = max(width, 0) * max(height, 0)
        area = (region[2] - region[0]) * (region[3] - region[1]) + (x2 - x1) * (y2 - y1)
        best = max(best, common / (area - common))
    return best


@pytest.mark.parametrize(
    "settings",
    [
        {"scaling": (1.0, 0.3)},
        {"scaling": (0.3, 2.0)},
        {"aspect_ratio": (2.0, 0.5)},
        {"aspect_ratio": (1.5, 2.0)},
        {"aspect_ratio": None, "scaling": (1.0, 0.5)},
    ],
)
def test_crop_bounds_may_stand_in_any_order(settings: dict) -> None:
    cropping = RandomCrop(allow_no_crop=False, thresholds=(0.0,), **settings)
    shapes = {cropping(sample([[10, 10, 40, 30]]), rng(seed))["image"].shape[:2] for seed in range(20)}
    assert len(shapes) > 1
    assert all(0 < height <= 40 and 0 < width <= 60 for height, width in shapes)


def test_crops_come_as_often_as_asked_for() -> None:
    seldom, generator = RandomCrop(allow_no_crop=False, thresholds=(0.0,), prob=0.25), rng()
    cropped = [seldom(sample([[10, 10, 40, 30]]), generator)["image"].shape[:2] != (40, 60) for _ in range(200)]
    assert 30 < sum(cropped) < 70


def test_distortion_bounds_may_stand_in_any_order() -> None:
    off = (0.0, 0.0, 1.0)
    lighter = RandomDistort(brightness=(9.0, 3.0, 0.0), contrast=off, saturation=off, hue=off)
    change = lighter(sample([]), rng())["image"] - picture()
    assert 3 <= change.min() <= change.max() <= 9


def test_an_image_without_boxes_passes_every_transform() -> None:
    for transform in (RandomCrop(), RandomFlip(1.0), RandomExpand(prob=0.0), Resize(20), RandomDistort()):
        out = transform(sample([]), rng())
        assert out["gt_bbox"].shape == (0, 4)


def test_mixing_weighs_pixels_and_boxes_by_the_same_factor() -> None:
    first, second = sample([[0, 0, 10, 10]], 20, 30), sample([[1, 1, 5, 5], [2, 2, 8, 8]], 30, 20, score=0.5)
    factor = float(rng(3).beta(1.5, 1.5))
    (out,) = Mixup()([first, second], rng(3))
    assert out["image"].shape == (30, 30, 3)
    one, two = first["image"].astype(np.float64), second["image"].astype(np.float64)
    np.testing.assert_allclose(out["image"][:20, :20], one[:, :20] * factor + two[:20] * (1 - factor), atol=1.01)
    np.testing.assert_allclose(out["image"][:20, 20:], one[:, 20:] * factor, atol=1.01)
    assert (out["image"][20:, 20:] == 0).all()
    np.testing.assert_allclose(out["gt_score"], [factor, 0.5 * (1 - factor), 0.5 * (1 - factor)], rtol=1e-6)
    np.testing.assert_array_equal(out["gt_bbox"], np.concatenate([first["gt_bbox"], second["gt_bbox"]]))
    np.testing.assert_array_equal(first["gt_score"], [1.0])


def test_mixing_leaves_a_single_image() -> None:
    one = sample([[0, 0, 10, 10]])
    assert Mixup()([one], rng())[0] is one


def only(**setting: tuple[float, float, float]) -> RandomDistort:
    off = dict.fromkeys(("hue", "saturation", "contrast", "brightness"), (0.0, 0.0, 1.0))
    return RandomDistort(**{**off, **setting})


def test_each_distortion_is_its_formula() -> None:
    image = picture().astype(np.float64)
    luma = image @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(only(brightness=(5, 5, 0))(sample([]), rng())["image"], image + 5, atol=1e-3)
    np.testing.assert_allclose(only(contrast=(0.6, 0.6, 0))(sample([]), rng())["image"], image * 0.6, atol=1e-3)
    saturated = only(saturation=(1.4, 1.4, 0))(sample([]), rng())["image"]
    np.testing.assert_allclose(saturated, image * 1.4 - 0.4 * luma[..., None], atol=1e-3)
    turned = only(hue=(1.0, 1.0, 0))(sample([]), rng())["image"]
    np.testing.assert_allclose(turned @ [0.299, 0.587, 0.114], luma, atol=0.6)
    assert np.abs(turned - image).max() > 20


def test_hue_turns_from_red_to_blue() -> None:
    """A quarter turn moves YIQ's (I, Q) to (-Q, I): red's (0.596, 0.211) to (-0.211, 0.596), with 0.299 for Y."""
    before = sample([])
    before["image"][:] = (255, 0, 0)
    blueish = [
        0.299 - 0.956 * 0.211 + 0.621 * 0.596,
        0.299 + 0.272 * 0.211 - 0.647 * 0.596,
        0.299 + 1.107 * 0.211 + 1.705 * 0.596,
    ]
    out = only(hue=(0.5, 0.5, 0))(before, rng())["image"]
    np.testing.assert_allclose(out, np.broadcast_to(np.multiply(255, blueish), out.shape), atol=1e-2)


def test_distortions_compose_in_the_drawn_order() -> None:
    distort = only(brightness=(10, 10, 0), contrast=(0.5, 0.5, 0))
    image = picture().astype(np.float64)
    seen = set()
    for seed in range(20):
        out = distort(sample([]), rng(seed))["image"]
        if np.abs(out - (image + 10) * 0.5).max() < 1e-2:
            seen.add("brightness first")
        elif np.abs(out - (image * 0.5 + 10)).max() < 1e-2:
            seen.add("contrast first")
    assert seen == {"brightness first", "contrast first"}


def test_distortion_left_out_returns_the_image_untouched() -> None:
    out = only()(sample([]), rng())["image"]
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, picture())


def test_normalising_is_the_formula() -> None:
    mean, std = [0.4, 0.5, 0.6], [0.2, 0.25, 0.5]
    expected = (picture() / 255 - mean) / std
    np.testing.assert_allclose(NormalizeImage(mean, std)(sample([]))["image"], expected, atol=2e-6)
    expected = (picture() - np.array([100, 110, 120])) / 2
    scaled = NormalizeImage([100, 110, 120], [2, 2, 2], is_scale=False)(sample([]))
    np.testing.assert_allclose(scaled["image"], expected, atol=1e-4)
    np.testing.assert_allclose(NormalizeImage(norm_type="none")(sample([]))["image"], picture() / 255, atol=1e-6)
    with pytest.raises(ConfigError):
        NormalizeImage(std=[1, 0, 1])


def test_permute_puts_channels_first() -> None:
    np.testing.assert_array_equal(Permute()(sample([]))["image"][2], picture()[..., 2])


def test_padding_fills_right_and_bottom_with_zeros() -> None:
    small, large = Permute()(sample([], 33, 20)), Permute()(sample([], 10, 65))
    one, two = PadBatch(pad_to_stride=32)([small, large], rng())
    assert one["image"].shape == two["image"].shape == (3, 64, 96)
    np.testing.assert_array_equal(one["image"][:, :33, :20], picture(33, 20).transpose(2, 0, 1))
    assert not one["image"][:, 33:].any()
    assert not one["image"][:, :, 20:].any()
    np.testing.assert_array_equal(one["im_shape"], [33, 20])
    assert PadStride(32)(Permute()(sample([], 33, 20)))["image"].shape == (3, 64, 32)
    assert PadStride(0)(Permute()(sample([], 33, 20)))["image"].shape == (3, 33, 20)


@pytest.mark.parametrize(("mode", "offset"), [(0, (0, 0)), (1, (2, 12)), (2, (4, 24)), (-1, (3, 7))])
def test_pad_puts_the_image_where_its_mode_says(mode: int, offset: tuple[int, int]) -> None:
    pad = Pad(size=[64, 64], pad_mode=mode, offsets=(3, 7), fill_value=(1, 2, 3))
    out = pad(sample([[0, 0, 10, 20]]))
    x, y = offset
    np.testing.assert_array_equal(out["gt_bbox"], [[x, y, 10 + x, 20 + y]])
    np.testing.assert_array_equal(out["image"][y : y + 40, x : x + 60], picture())
    with pytest.raises(ConfigError, match="smaller than an image of 40 x 60"):
        Pad(size=32)(sample([]))


def test_target_transforms_leave_boxes_in_pixels() -> None:
    boxes = [[float(i), 0, i + 5.0, 9] for i in range(60)]
    out = sample(boxes)
    for transform in (NormalizeBox(), PadBox(num_max_boxes=50), BboxXYXY2XYWH()):
        out = transform(out, rng())
    np.testing.assert_array_equal(out["gt_bbox"], boxes)


def test_a_fill_value_has_three_channels() -> None:
    cfg = freeze({})
    assert build(cfg, {"RandomExpand": {"fill_value": 7}}).fill_value == (7.0, 7.0, 7.0)
    for name in ("RandomExpand", "Pad"):
        with pytest.raises(ConfigError, match=rf"{name}\.fill_value"):
            build(cfg, {name: {"fill_value": [1, 2]}})

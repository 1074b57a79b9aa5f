"""The drawn data set: the same bytes for the same seed, and boxes that fit their shapes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppkd.data.annotation import Annotation
from ppkd.data.datasets import COCODataSet
from ppkd.data.shapes import CLASSES, Look, box, draw_image, draw_shapes, unit_outline
from ppkd.utils.errors import DataError


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_seed_decides_every_byte(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        draw_shapes(tmp_path / name, images_train=6, images_val=3, images_unlabelled=2, size=64, seed=seed)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert len(files(tmp_path / "a")) == 6 + 3 + 2 + 2
    changed = files(tmp_path / "c")
    assert all(changed[name] != data for name, data in files(tmp_path / "a").items())


def test_images_do_not_depend_on_how_many_there_are_and_old_ones_go(tmp_path: Path) -> None:
    draw_shapes(tmp_path, images_train=6, images_val=1, size=64, seed=0)
    before = files(tmp_path)
    draw_shapes(tmp_path, images_train=4, images_val=1, size=64, seed=0)
    after = files(tmp_path)
    assert sorted(set(before) - set(after)) == ["train/000004.jpg", "train/000005.jpg"]
    assert all(before[name] == data for name, data in after.items() if name.endswith(".jpg"))


def test_difficulty_makes_shapes_smaller_and_colours_say_less(tmp_path: Path) -> None:
    for name, difficulty in (("easy", 0.0), ("hard", 1.0)):
        draw_shapes(tmp_path / name, images_train=40, images_val=1, size=96, seed=0, difficulty=difficulty)
    areas, hues = {}, {}
    for name in ("easy", "hard"):
        found = COCODataSet(str(tmp_path / name), "train", "annotations/instances_train.json", allow_empty=True)
        areas[name] = np.concatenate([a.gt_bbox[:, 2:] - a.gt_bbox[:, :2] for a in found]).mean()
        hues[name] = np.concatenate([_hues_of_circles(a) for a in found])
    assert areas["hard"] < 0.85 * areas["easy"]
    assert np.median(np.minimum(hues["easy"], 180 - hues["easy"])) < 12
    assert np.median(np.minimum(hues["hard"], 180 - hues["hard"])) > 20
    with pytest.raises(DataError, match=r"difficulty is 1\.5, expected 0 to 1"):
        draw_shapes(tmp_path / "bad", images_train=1, images_val=1, size=96, seed=0, difficulty=1.5)
    assert not (tmp_path / "bad").exists()


def test_splits_have_no_image_in_common(tmp_path: Path) -> None:
    draw_shapes(tmp_path, images_train=5, images_val=5, images_unlabelled=5, size=64, seed=0)
    pictures = [data for name, data in files(tmp_path).items() if name.endswith(".jpg")]
    assert len(set(pictures)) == 15


def test_it_is_a_coco_set_with_all_classes_sizes_and_some_empty_images(tmp_path: Path) -> None:
    draw_shapes(tmp_path, images_train=80, images_val=1, size=96, seed=0)
    found = COCODataSet(str(tmp_path), "train", "annotations/instances_train.json", allow_empty=True)
    assert found.class_names == CLASSES
    assert not found.summary.degenerate
    assert not found.summary.clipped
    assert 0 < found.summary.empty < 20
    assert min(found.summary.boxes.values()) > 20
    sides = np.concatenate([a.gt_bbox[:, 2] - a.gt_bbox[:, 0] for a in found])
    assert sides.min() < 15
    assert sides.max() > 35
    content = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    assert all(a["area"] == pytest.approx(a["bbox"][2] * a["bbox"][3], abs=0.01) for a in content["annotations"])


def test_a_box_fits_the_pixels_of_its_shape() -> None:
    for seed, name in enumerate(CLASSES):
        outline = unit_outline(name, np.random.default_rng(seed)) * 20 + [30, 25]
        canvas = np.zeros((64, 64), np.uint8)
        cv2.fillPoly(canvas, [(outline * 16).round().astype(np.int32)], 255, cv2.LINE_8, 4)
        y, x = np.nonzero(canvas)
        left, top, width, height = box(outline, 64)
        np.testing.assert_allclose([x.min(), y.min()], [left, top], atol=1.5)
        np.testing.assert_allclose([x.max() + 1, y.max() + 1], [left + width, top + height], atol=1.5)


def test_shapes_hide_at_most_half_of_earlier_ones() -> None:
    for seed in range(30):
        _, shapes = draw_image(96, np.random.default_rng(seed), Look())
        alone = [_pixels([shape.outline]) == 1 for shape in shapes]
        together = _pixels([shape.outline for shape in shapes])
        for number, mask in enumerate(alone, start=1):
            assert (together[mask] == number).mean() > 0.12


def _hues_of_circles(annotation: Annotation) -> np.ndarray:
    """Hues, 0 to 179, in the middle of each circle: red is the class's own."""
    hsv = cv2.cvtColor(cv2.imread(str(annotation.file)), cv2.COLOR_BGR2HSV)
    centres = (annotation.gt_bbox[:, :2] + annotation.gt_bbox[:, 2:]) / 2
    x, y = centres[annotation.gt_class == 0].astype(int).T
    return hsv[y, x, 0].astype(int)


def _pixels(outlines: list[np.ndarray]) -> np.ndarray:
    canvas = np.zeros((96, 96), np.uint8)
    for number, outline in enumerate(outlines, start=1):
        cv2.fillPoly(canvas, [outline.round().astype(np.int32)], number)
    return canvas

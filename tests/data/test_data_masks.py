"""Masks of COCO files: what is read, what is dropped and counted, and how transforms move them."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from reader_cases import coco_content, make_config, write_coco

from ppkd.data import build_dataset, build_loader
from ppkd.data.datasets import COCODataSet
from ppkd.data.outlines import Outlines, of_bitmap, read_polygons, read_rle
from ppkd.data.reader import build_reader
from ppkd.data.transforms import Mixup, RandomCrop, RandomExpand, RandomFlip, Resize
from ppkd.utils.errors import DataError

SQUARE = [4, 5, 24, 5, 24, 35, 4, 35]


def opened(folder: Path, segmentations: list[Any], **settings: Any) -> COCODataSet:
    """The set of two images, of which the second has as many boxes as there are ``segmentations``."""
    content = coco_content(2)
    first = content["annotations"][0]
    content["annotations"] = [{**first, "id": i, "segmentation": own} for i, own in enumerate(segmentations)]
    write_coco(folder, 2, content)
    fields = settings.pop("data_fields", ["gt_poly"])
    return COCODataSet(dataset_dir=str(folder), image_dir="images", anno_path="a.json", data_fields=fields, **settings)


def drawn(edges: np.ndarray, height: int = 48, width: int = 64) -> np.ndarray:
    """The pixels whose middle has an odd number of edges above it; of one layer."""
    y, x = np.mgrid[:height, :width] + 0.5
    x1, y1, x2, y2 = edges[:, :4].astype(np.float64).T[..., None, None]
    between = (x1 <= x) != (x2 <= x)
    with np.errstate(divide="ignore", invalid="ignore"):
        above = between & (y1 + (x - x1) / (x2 - x1) * (y2 - y1) < y)
    return above.sum(axis=0) % 2 == 1


def test_polygons_close_and_near_ones_lie_in_layers_of_their_own() -> None:
    far = [40, 5, 60, 5, 50, 20]
    edges, whole = read_polygons([SQUARE, far, [10, 10, 30, 10, 20, 40]])
    assert whole
    assert edges[:, 4].tolist() == [0] * 7 + [1] * 3
    assert edges[:4, :4].tolist() == [[4, 5, 24, 5], [24, 5, 24, 35], [24, 35, 4, 35], [4, 35, 4, 5]]
    block = Outlines.of([edges, edges[:3]]).padded()
    assert block.shape == (2, 2, 7, 4)
    assert block[0, 1, :3].tolist() == edges[7:, :4].tolist()
    assert not block[0, 1, 3:].any()
    assert not block[1, 1].any()
    assert Outlines.of([]).padded().shape == (0, 1, 1, 4)


@pytest.mark.parametrize("form", ["compressed", "uncompressed"])
def test_the_outline_of_an_rle_has_its_pixels_inside(form: str) -> None:
    mask = np.random.default_rng(0).random((48, 64)) < 0.3
    rle = coco.encode(np.asfortranarray(mask, np.uint8))
    runs = [len(list(group)) for _, group in groupby([False, *mask.T.ravel().tolist()])]
    plain = {"size": [48, 64], "counts": [runs[0] - 1, *runs[1:]]}
    text = {"size": [48, 64], "counts": rle["counts"].decode()}
    edges = read_rle(text if form == "compressed" else plain, (48, 64))
    np.testing.assert_array_equal(drawn(edges), mask)
    np.testing.assert_array_equal(edges, of_bitmap(mask))


@pytest.mark.parametrize(
    "rle",
    [
        {"size": [48, 63], "counts": [48 * 63]},
        {"size": [48, 64], "counts": [10, 20]},
        {"size": [48, 64], "counts": [48 * 64 + 1, -1]},
        {"size": [48, 64], "counts": "PPP"},
        {"size": [48, 64], "counts": "oooo"},
        {"size": [48, 64], "counts": "ä1"},
        {"size": [48, 64], "counts": ""},
        {"size": "48x64", "counts": [48 * 64]},
        {"counts": [48 * 64]},
        {},
    ],
)
def test_a_damaged_rle_is_none(rle: dict[str, Any]) -> None:
    assert read_rle(rle, (48, 64)) is None


def test_broken_masks_and_boxes_without_one_are_named(tmp_path: Path) -> None:
    wrong = {"size": [9, 9], "counts": [81]}
    odd, short, text = [4, 5, 24, 5, 24, 35, 4], [4, 5, 24, 5], ["a"] * 6
    dataset = opened(tmp_path, [[SQUARE], [SQUARE, odd], [short], [text], wrong, 7, [], None])
    (only,) = dataset
    assert only.gt_poly.counts.tolist() == [4, 4, 0, 0, 0, 0, 0, 0]
    assert dataset.summary.broken_masks == ["1.png"] * 5
    assert dataset.summary.maskless == ["1.png"] * 6
    assert "5 masks of broken polygons" in str(dataset.summary)
    assert "6 boxes without a mask" in str(dataset.summary)


def test_a_set_without_any_mask_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of its boxes has a mask, but data_fields asks for gt_poly"):
        opened(tmp_path, [None, []])


def test_masks_are_read_only_if_asked_for(tmp_path: Path) -> None:
    dataset = opened(tmp_path, [[SQUARE]], data_fields=["gt_bbox"])
    assert dataset[0].gt_poly is None
    assert not dataset.masks


def test_a_crowd_has_its_mask(tmp_path: Path) -> None:
    content = coco_content(2)
    crowd = {"iscrowd": 1, "segmentation": {"size": [48, 64], "counts": [100, 20, 48 * 64 - 120]}}
    content["annotations"] = [{**content["annotations"][0], **crowd}]
    write_coco(tmp_path, 2, content)
    paths = {"dataset_dir": str(tmp_path), "image_dir": "images", "anno_path": "a.json"}
    (only,) = COCODataSet(**paths, data_fields=["gt_poly"], load_crowd=True)
    assert drawn(only.gt_poly.edges).sum() == 20


def sample(count: int = 1) -> dict[str, Any]:
    """A picture with ``count`` squares."""
    edges, _ = read_polygons([SQUARE])
    return {
        "image": np.zeros((48, 64, 3), np.uint8),
        "im_shape": np.array([48, 64], np.float32),
        "gt_bbox": np.array([[4, 5, 24, 35]] * count, np.float32),
        "gt_class": np.zeros(count, np.int64),
        "gt_score": np.ones(count, np.float32),
        "is_crowd": np.zeros(count, np.int64),
        "difficult": np.zeros(count, np.int64),
        "gt_poly": Outlines.of([edges] * count).padded(),
    }


@pytest.mark.parametrize(
    "transform",
    [
        RandomFlip(prob=1.0),
        Resize([96, 96], keep_ratio=False),
        RandomExpand(prob=0.0),
        RandomCrop(allow_no_crop=False, thresholds=[0.1], scaling=[0.6, 0.8]),
    ],
)
def test_masks_go_where_their_boxes_go(transform: Any) -> None:
    before = sample()
    after = transform(before, np.random.default_rng(1))
    x, y = after["gt_poly"][0, 0].reshape(-1, 2).T
    height, width = after["image"].shape[:2]
    around = np.clip([x.min(), y.min(), x.max(), y.max()], 0, [width, height] * 2)
    np.testing.assert_allclose(after["gt_bbox"][0], around, rtol=1e-6)
    assert not np.array_equal(after["gt_bbox"], [[4, 5, 24, 35]])


def test_mixup_keeps_the_masks_of_both() -> None:
    (mixed,) = Mixup()([sample(), sample(2)], np.random.default_rng(0))
    assert mixed["gt_poly"].shape == (3, 1, 4, 4)


def test_a_batch_has_padded_masks(tmp_path: Path) -> None:
    content = coco_content(3)
    for i, entry in enumerate(content["annotations"]):
        entry["segmentation"] = [SQUARE] if i else [SQUARE, SQUARE[:6]]
    folder = write_coco(tmp_path, 3, content)
    cfg = make_config(tmp_path / "c.yml", folder, TrainDataset={"data_fields": ["gt_poly"], "allow_empty": False})
    dataset = build_dataset(cfg, "TrainDataset")
    (batch,) = build_loader(build_reader(cfg, "Train"), dataset, batch_size=2, worker_num=0)
    assert [block.shape for block in batch["gt_poly"]] == [[len(boxes), 2, 4, 4] for boxes in batch["gt_bbox"]]

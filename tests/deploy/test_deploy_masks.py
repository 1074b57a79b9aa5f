"""Masks of an exported model, in pictures and in bbox.json."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from narrow import narrow
from pycocotools import mask as coco

from ppkd.config import load_config
from ppkd.deploy.engine import EagerEngine
from ppkd.deploy.export import export_model
from ppkd.deploy.pictures import detect_pictures
from ppkd.deploy.pipeline import Found, Pipeline, split_masks
from ppkd.deploy.predictor import Predictor
from ppkd.deploy.results import Results
from ppkd.deploy.slices import SlicedPipeline, Slicing
from ppkd.deploy.to_onnx.export import describe
from ppkd.models import build_detector
from ppkd.models.views import detect
from ppkd.report.draw import draw_detections
from ppkd.utils.errors import ConfigError

SMALL = ["FPN.out_channel=16", "TwoFCHead.out_channel=16", "MaskFeat.num_convs=1", "MaskFeat.out_channel=8"]
FEW = ["BBoxPostProcess.nms.keep_top_k=5", "TestDataset.anno_path=null", "pretrain_weights=null"]


@pytest.fixture(scope="module")
def case(root):
    path = root / "configs/shapes/mask_rcnn_r18_160_shapes.yml"
    cfg = load_config(path, [*SMALL, *FEW, *narrow(load_config(path))])
    paddle.seed(0)
    model = build_detector(cfg)
    model.class_names = ("a", "b", "c", "d")
    model.eval()
    return model, cfg


@pytest.fixture(scope="module")
def predictor(case, tmp_path_factory):
    return Predictor(export_model(*case, tmp_path_factory.mktemp("exported")))


def picture(folder: Path, name: str, height: int, width: int) -> Path:
    path = folder / name
    cv2.imwrite(str(path), np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8))
    return path


def test_the_exported_model_has_the_masks_of_the_detector(case, predictor, tmp_path):
    pictures = [picture(tmp_path, "a.png", 120, 90), picture(tmp_path, "b.png", 80, 160)]
    eager = Pipeline(EagerEngine(case[0]), predictor.preprocess)
    assert predictor.config.mask
    pairs = zip(predictor.find(pictures, 2), eager.find(pictures, 2), [(120, 90), (80, 160)], strict=True)
    for found, expected, size in pairs:
        assert found.masks.shape == (5, *size)
        np.testing.assert_allclose(found.rows, expected.rows, atol=1e-3)
        assert (found.masks != expected.masks).mean() < 1e-3
        assert 0 < found.masks.mean() < 1


def test_results_have_masks(predictor, tmp_path):
    files = [picture(tmp_path, "a.png", 60, 50)]
    results = Results(tmp_path / "out", ("a", "b", "c", "d"), (1, 2, 3, 4), threshold=0.0)
    detect_pictures(predictor, files, results.add)
    (found,) = predictor.find(files)
    rows = json.loads(results.write_json().read_text())
    decoded = np.stack([coco.decode(row["segmentation"]) for row in rows])
    np.testing.assert_array_equal(decoded, found.masks)
    assert (tmp_path / "out/a.png").is_file()


def test_masks_are_drawn_over_the_picture():
    image = np.full((40, 60, 3), 200, np.uint8)
    mask = np.zeros((2, 40, 60), np.uint8)
    mask[0, 10:20, 10:20] = mask[1, 25:35, 30:50] = 1
    rows = np.array([[0, 0.9, 5, 5, 25, 25], [1, 0.1, 28, 22, 52, 38]], np.float32)
    drawn = draw_detections(image, rows, ["x", "y"], 0.5, mask)
    assert (drawn[12:18, 12:18] != 200).any(axis=-1).all()
    assert (drawn[26:34, 31:49] == 200).all()


def test_masks_go_with_the_rows_that_are_kept():
    rows = np.array([[-1, 0, 0, 0, 0, 0], [2, 0.5, 0, 0, 3, 3], [1, 0.4, 0, 0, 3, 3]], np.float32)
    masks = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 5, 6), np.uint8)
    first, second = split_masks([rows, np.array([1, 2]), masks], [(5, 4), (3, 6)])
    assert first.shape == (0, 5, 4)
    assert second.shape == (2, 3, 6)
    assert second[:, 0, 0].tolist() == [1, 2]


def test_what_has_no_masks_says_so(case, tmp_path):
    model, cfg = case
    with pytest.raises(ConfigError, match="ONNX files hold no masks"):
        describe(model, cfg, "detections")
    with pytest.raises(ConfigError, match="MaskRCNN has masks of what its NMS leaves"):
        export_model(model, load_config(cfg.path, [*SMALL, *FEW, *narrow(cfg), "export.nms=false"]), tmp_path)
    size = {"im_shape": paddle.full([1, 2], 64.0), "scale_factor": paddle.ones([1, 2])}
    view = {"image": paddle.zeros([1, 3, 64, 64]), **size}
    with paddle.no_grad(), pytest.raises(ConfigError, match="masks of several sizes cannot be joined"):
        detect(model, {**view, "views": [view]})

    class Masks(Pipeline):
        def find(self, pictures, batch_size=1):
            return [Found(np.zeros((0, 6), np.float32), np.zeros((0, 4, 4), np.uint8))] * len(pictures)

    sliced = SlicedPipeline(Masks(None, None), Slicing((32, 32), (0.2, 0.2)))
    with pytest.raises(ConfigError, match="masks of slices cannot be joined"):
        sliced._detect(np.zeros((64, 64, 3), np.uint8))

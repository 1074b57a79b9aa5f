"""PaddleDetection's own deploy script runs what is exported here: its infer_cfg.yml, and its numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
import yaml
from parity_fill import fill_model, load_case

from ppkd.config import load_config
from ppkd.deploy.export import export_model
from ppkd.deploy.infer_cfg import InferConfig
from ppkd.deploy.labels import class_labels
from ppkd.deploy.predictor import Predictor
from ppkd.models import build_detector

ENVIRONMENT = "PADDLEDETECTION"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def resize(height: int, width: int, keep_ratio: bool, interp: int) -> dict[str, Any]:
    return {"type": "Resize", "interp": interp, "keep_ratio": keep_ratio, "target_size": [height, width]}


IMAGENET = [{"type": "NormalizeImage", "is_scale": True, "mean": MEAN, "std": STD}, {"type": "Permute"}]
PYRAMID = [resize(800, 1333, True, 1), *IMAGENET, {"type": "PadStride", "stride": 32}]
ZERO_ONE = [
    {"type": "NormalizeImage", "is_scale": True, "mean": [0.0] * 3, "std": [1.0] * 3, "norm_type": "none"},
    {"type": "Permute"},
]
PICODET = {
    "NMS": {
        "name": "MultiClassNMS",
        "nms_top_k": 1000,
        "keep_top_k": 100,
        "score_threshold": 0.3,
        "nms_threshold": 0.5,
    },
    "fpn_stride": [8, 16, 32, 64],
}
# arch, min_subgraph_size, use_dynamic_shape, Preprocess and what else ppdet/engine/export_utils.py writes.
FACTS = {
    "yolov3/yolov3_mobilenet_v1_270e_coco": ("YOLO", 3, False, [resize(608, 608, False, 2), *IMAGENET], {}),
    "retinanet/retinanet_r50_fpn_1x_coco": ("RetinaNet", 40, True, PYRAMID, {}),
    "gfl/gfl_r50_fpn_1x_coco": ("GFL", 16, True, PYRAMID, {}),
    "faster_rcnn/faster_rcnn_r50_fpn_1x_coco": ("RCNN", 40, True, [resize(800, 1333, True, 2), *PYRAMID[1:]], {}),
    "ppyoloe/ppyoloe_plus_crn_s_80e_coco": ("PPYOLOE", 3, False, [resize(640, 640, False, 2), *ZERO_ONE], {}),
    "picodet/picodet_s_320_coco_lcnet": ("GFL", 3, False, [resize(320, 320, False, 2), *IMAGENET], PICODET),
}


def described(root: Path, name: str, folder: Path, *overrides: str) -> dict[str, Any]:
    """The infer_cfg.yml of a published configuration, without its class names and what is written here alone."""
    cfg = load_config(str(root / f"configs/{name}.yml"), list(overrides))
    labels = class_labels(cfg)
    InferConfig.of(cfg, labels.names, labels.category_ids).write(folder / "infer_cfg.yml")
    found = yaml.safe_load((folder / "infer_cfg.yml").read_text(encoding="utf-8"))
    assert len(found.pop("label_list")) == len(found.pop("category_ids")) == 80
    return found


@pytest.mark.parametrize("name", FACTS)
def test_infer_cfg_says_what_theirs_says(root: Path, tmp_path: Path, name: str) -> None:
    arch, size, dynamic, steps, more = FACTS[name]
    assert described(root, name, tmp_path) == {
        "mode": "paddle",
        "draw_threshold": 0.5,
        "metric": "COCO",
        "use_dynamic_shape": dynamic,
        "arch": arch,
        "min_subgraph_size": size,
        "Preprocess": steps,
        **more,
    }


@pytest.mark.parametrize("option", ["export.post_process=false", "export.benchmark=true"])
def test_a_picodet_that_is_not_decoded_is_called_so(root: Path, tmp_path: Path, option: str) -> None:
    found = described(root, "picodet/picodet_s_320_coco_lcnet", tmp_path, option)
    assert (found["arch"], found["fpn_stride"]) == ("PicoDet", [8, 16, 32, 64])


SMALL_CHANGES = [[r"backbone\.res\d\.res\d[a-z]+\d*\.branch2b\.norm\.weight$", 0.2, 0.0]]
DETECTORS = {
    "yolov3_mobilenet_v1_x0.25_160_shapes": "yolov3_mobilenet_v1",
    "retinanet_r18_160_shapes": "retinanet_r50_fpn",
    "gfl_r18_160_shapes": "gfl_r50_fpn",
    "faster_rcnn_r18_160_shapes": "faster_rcnn_r50_fpn",
    "ppyoloe_plus_crn_160_shapes": "ppyoloe_plus_crn_s",
    "picodet_s_160_shapes": "picodet_s_320_lcnet",
}
"""Small configurations, and the parity case whose rules make random weights that detect something."""

# What stops the script on today's Paddle, and with --save_results (its boxes are annotated, not assigned).
PATCHES = (
    ("preprocess.py", "import imgaug.augmenters as iaa\n", ""),
    ("infer.py", "    config.enable_memory_optim()\n", ""),
    ("infer.py", "'bbox': bbox,\n", "'bbox': [box[2], box[3], box[4] - box[2], box[5] - box[3]],\n"),
)


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of PaddleDetection's deploy/python with the patches."""
    if ENVIRONMENT not in os.environ:
        pytest.skip(f"needs a checkout of PaddleDetection, named by the environment variable {ENVIRONMENT}")
    pytest.importorskip("scipy", reason="PaddleDetection's deploy script needs scipy")
    copy = tmp_path_factory.mktemp("theirs") / "python"
    shutil.copytree(Path(os.environ[ENVIRONMENT]) / "deploy" / "python", copy)
    for name, old, new in PATCHES:
        text = (copy / name).read_text(encoding="utf-8")
        assert old in text
        (copy / name).write_text(text.replace(old, new), encoding="utf-8")
    return copy / "infer.py"


def rows_of(bbox: Path, name: str) -> np.ndarray:
    """Class, score, x1, y1, x2, y2 of the detections in the picture ``name``."""
    found = [row for row in json.loads(bbox.read_text()) if row["file_name"] == name]
    rows = np.array([[row["category_id"], row["score"], *row["bbox"]] for row in found])
    rows[:, 4:] += rows[:, 2:4]
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_their_script_finds_what_is_found_here(
    root: Path, real_data: Path, script: Path, tmp_path: Path, name: str
) -> None:
    cfg = load_config(str(root / f"configs/shapes/{name}.yml"), ["TestDataset.label_list=[a, b, c, d]"])
    settings, _ = load_case(DETECTORS[name])
    paddle.seed(0)
    detector = build_detector(cfg)
    fill_model(detector, [*SMALL_CHANGES, *settings["fill_rules"]], settings["kept_initial"])
    folder = export_model(detector, cfg, tmp_path)
    pictures = sorted((real_data / "coco_tiny" / "train2017").glob("*.jpg"))[:3]
    (tmp_path / "pictures").mkdir()
    for picture in pictures:
        shutil.copy(picture, tmp_path / "pictures")
    run_theirs(script, ["--model_dir", folder, "--image_dir", tmp_path / "pictures", "--output_dir", tmp_path / "out"])
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == [picture.name for picture in pictures]
    for picture, ours in zip(pictures, Predictor(folder).predict(pictures), strict=True):
        theirs = rows_of(tmp_path / "out" / "bbox.json", picture.name)
        assert len(ours) > 10
        assert theirs.shape == ours.shape
        assert np.array_equal(theirs[:, 0], ours[:, 0])
        assert np.abs(theirs[:, 1] - ours[:, 1]).max() < 1e-4
        assert np.abs(theirs[:, 2:] - ours[:, 2:]).max() < 0.05, "pixels"


def run_theirs(script: Path, arguments: Sequence[object]) -> None:
    Path(str(arguments[-1])).mkdir()
    done = subprocess.run(
        [sys.executable, str(script), *map(str, arguments), "--save_results"],
        cwd=script.parent,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr

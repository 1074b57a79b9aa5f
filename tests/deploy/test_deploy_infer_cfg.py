"""infer_cfg.yml: PaddleDetection's keys, values and order; errors that name file and key."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ppkd.config import load_config
from ppkd.deploy.infer_cfg import InferConfig, image_shape, preprocess_steps
from ppkd.deploy.labels import class_labels
from ppkd.utils.errors import ConfigError

NORMALIZE = {"is_scale": True, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def test_published_coco_configuration(root: Path, tmp_path: Path) -> None:
    cfg = load_config(str(root / "configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml"))
    labels = class_labels(cfg)
    path = tmp_path / "infer_cfg.yml"
    InferConfig.of(cfg, labels.names, labels.category_ids).write(path)
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    names = found.pop("label_list")
    assert (names[0], names[79], len(names)) == ("person", "toothbrush", 80)
    assert found.pop("category_ids")[-1] == 90
    assert list(found.items()) == [
        ("mode", "paddle"),
        ("draw_threshold", 0.5),
        ("metric", "COCO"),
        ("use_dynamic_shape", False),
        ("arch", "YOLO"),
        ("min_subgraph_size", 3),
        (
            "Preprocess",
            [
                {"type": "Resize", "interp": 2, "keep_ratio": False, "target_size": [608, 608]},
                {"type": "NormalizeImage", **NORMALIZE},
                {"type": "Permute"},
            ],
        ),
    ]


def test_fixed_size_is_the_target_size(root: Path) -> None:
    path = str(root / "configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml")
    cfg = load_config(path, ["TestReader.inputs_def.image_shape=[3, 320, 416]"])
    assert preprocess_steps(cfg)[0]["target_size"] == [320, 416]
    assert image_shape(cfg) == (None, 3, 320, 416)


def test_batch_padding_becomes_pad_stride_and_a_silent_file_has_the_usual_metric(tmp_path: Path) -> None:
    path = tmp_path / "retina.yml"
    path.write_text(
        """
architecture: RetinaNet
TestReader:
  sample_transforms:
    - Decode: {}
    - Resize: {target_size: [800, 1333]}
    - NormalizeImage: {}
    - Permute: {}
  batch_transforms:
    - PadBatch: {pad_to_stride: 32}
"""
    )
    made = InferConfig.of(load_config(str(path)), ["a"], [1])
    assert made.metric == "COCO"
    assert list(made.preprocess) == [
        {"type": "Resize", "interp": 1, "keep_ratio": True, "target_size": [800, 1333]},
        {"type": "NormalizeImage", **NORMALIZE},
        {"type": "Permute"},
        {"type": "PadStride", "stride": 32},
    ]
    assert (made.arch, made.min_subgraph_size, made.use_dynamic_shape) == ("RetinaNet", 40, True)


@pytest.mark.parametrize(
    ("architecture", "family", "size"),
    [
        ("YOLOv3", "YOLO", 3),
        ("PPYOLOE", "PPYOLOE", 3),
        ("PicoDet", "GFL", 3),
        ("GFL", "GFL", 16),
        ("FasterRCNN", "RCNN", 40),
    ],
)
def test_families(config: Callable, architecture: str, family: str, size: int) -> None:
    made = InferConfig.of(config(f"architecture={architecture}"), ["a"], [1])
    assert (made.arch, made.min_subgraph_size) == (family, size)


@pytest.mark.parametrize("shape", ["[3, 320]", "[1, 320, 320]", "[3, 320, -1]", "[3, 0, 320]", "[1, 3, 320, 320, 1]"])
def test_image_shapes_that_make_no_sense(config: Callable, shape: str) -> None:
    with pytest.raises(
        ConfigError, match=r"-o: TestReader\.inputs_def\.image_shape is .* expected \[3, height, width\]"
    ):
        image_shape(config(f"TestReader.inputs_def.image_shape={shape}"))


def test_reads_what_it_writes_and_what_paddledetection_writes(tmp_path: Path, config: Callable) -> None:
    made = InferConfig.of(config(), ["disc", "三角"], [3, 9])
    path = tmp_path / "infer_cfg.yml"
    made.write(path)
    assert InferConfig.read(path) == made
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["category_ids"]
    path.write_text(yaml.safe_dump({**content, "use_multi_modal": False}))
    assert InferConfig.read(path).category_ids == (0, 1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[1", "not valid yaml"),
        ("- 1", "under the key 'arch'"),
        ("arch: YOLO\nmetric: COCO\nPreprocess: {}\nlabel_list: []", "list under the key 'Preprocess'"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "infer_cfg.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"infer_cfg.yml(:1)?: .*{says}"):
        InferConfig.read(path)


def test_class_names_must_be_as_many_as_the_classes(config: Callable, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"num_classes is 5, but .*label_list names 4 classes"):
        class_labels(config("num_classes=5"))
    names = tmp_path / "label_list.txt"
    names.write_text("cat\ndog\n")
    cfg = config(f"TestDataset={{anno_path: {names}, label_list: null}}", "num_classes=2")
    assert class_labels(cfg).names == ("cat", "dog")

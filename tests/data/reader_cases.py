"""Small folders of pictures and configurations that the reader's tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml

from ppkd.config import Config, load_config

NORMALISE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "is_scale": True}
CLASSES = ["red", "green", "blue"]


def write_picture(path: Path, height: int = 48, width: int = 64, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), image)
    return path


def coco_content(count: int, height: int = 48, width: int = 64) -> dict[str, Any]:
    """``count`` images; image ``i`` has ``i % 3`` boxes, so every third has none; category ids have gaps."""
    images = [{"id": 10 + i, "file_name": f"{i}.png", "height": height, "width": width} for i in range(count)]
    annotations = [
        {"id": 100 * i + k, "image_id": 10 + i, "category_id": 7, "bbox": [4 + k, 5, 20, 30], "iscrowd": 0}
        for i in range(count)
        for k in range(i % 3)
    ]
    categories = [{"id": n, "name": name} for n, name in zip((7, 3, 90), CLASSES, strict=True)]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_coco(folder: Path, count: int = 9, content: dict[str, Any] | None = None) -> Path:
    for i in range(count):
        write_picture(folder / "images" / f"{i}.png", seed=i)
    (folder / "a.json").write_text(json.dumps(content or coco_content(count)))
    return folder


def write_xml(path: Path, objects: list[tuple[str, list[float]]], size: tuple[int, int] | None = (48, 64)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    stated = "" if size is None else f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
    names = ("xmin", "ymin", "xmax", "ymax")
    body = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{corner}>{value}</{corner}>" for corner, value in zip(names, box, strict=True))
        + "</bndbox></object>"
        for name, box in objects
    )
    path.write_text(f"<annotation>{stated}{body}</annotation>")
    return path


def make_config(path: Path, folder: Path, **readers: Any) -> Config:
    """A configuration over a folder of :func:`write_coco`; keyword arguments replace entries of the readers."""
    dataset = {"name": "COCODataSet", "dataset_dir": str(folder), "image_dir": "images", "anno_path": "a.json"}
    fixed = [{"Decode": {}}, {"Resize": {"target_size": [32, 32], "keep_ratio": False}}]
    finish = [{"NormalizeImage": NORMALISE}, {"Permute": {}}]
    content = {
        "architecture": "YOLOv3",
        "num_classes": 3,
        "worker_num": 0,
        "TrainDataset": {**dataset, "allow_empty": True},
        "EvalDataset": {**dataset, "allow_empty": True},
        "TestDataset": {"name": "ImageFolder", "image_dir": str(folder / "images"), "label_list": CLASSES},
        "TrainReader": {
            "sample_transforms": [
                {"Decode": {}},
                {"Mixup": {}},
                {"RandomDistort": {}},
                {"RandomExpand": {"ratio": 2.0}},
                {"RandomCrop": {}},
                {"RandomFlip": {}},
            ],
            "batch_transforms": [
                {"BatchRandomResize": {"target_size": [32, 48, 64], "random_interp": True, "keep_ratio": False}},
                {"NormalizeBox": {}},
                {"PadBox": {"num_max_boxes": 50}},
                {"BboxXYXY2XYWH": {}},
                *finish,
            ],
            "batch_size": 2,
            "mixup_epoch": 1,
        },
        "EvalReader": {"sample_transforms": fixed + finish, "batch_size": 2},
        "TestReader": {"sample_transforms": fixed + finish},
    }
    for name, entries in readers.items():
        content[name] = {**content[name], **entries}
    path.write_text(yaml.safe_dump(content))
    return load_config(path)

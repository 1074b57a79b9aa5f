"""YOLO's text files: where images and labels are found, what a line means, what is counted and what is refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from reader_cases import CLASSES, make_config, write_picture

from ppkd.config import load_config
from ppkd.data import build_dataset
from ppkd.data.datasets import ImageFolder, YOLODataSet
from ppkd.data.image import image_size, read_image
from ppkd.experiment.parts import open_dataset
from ppkd.metrics import COCOMetric
from ppkd.utils.errors import DataError


def write_labels(path: Path, *lines: str, end: str = "\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("".join(line + end for line in lines).encode())
    return path


def one(folder: Path, *lines: str, name: str = "a", end: str = "\n") -> Path:
    """A folder with one picture of 48 x 64 pixels and its labels."""
    write_picture(folder / "images" / "train" / f"{name}.png")
    write_labels(folder / "labels" / "train" / f"{name}.txt", *lines, end=end)
    return folder


def yolo(folder: Path, **settings: object) -> YOLODataSet:
    return YOLODataSet(**{"dataset_dir": str(folder), "image_dir": "images/train", "label_list": CLASSES, **settings})


def test_boxes_are_parts_of_the_picture_and_polygons_become_boxes(tmp_path: Path) -> None:
    one(tmp_path, "2 0.5 0.5 0.25 0.5", "", "0 0.25 0.25 0.75 0.25 0.5 1.0", end="\r\n")
    (only,) = yolo(tmp_path)
    assert (only.height, only.width, only.file.name) == (48, 64, "a.png")
    np.testing.assert_allclose(only.gt_bbox, [[24, 12, 40, 36], [16, 12, 48, 48]])
    np.testing.assert_array_equal(only.gt_class, [2, 0])


def test_bad_lines_are_named_with_file_and_number_and_the_others_stay(tmp_path: Path) -> None:
    bad = ["0 0.5 0.5 0.5", "x 0.5 0.5 0.2 0.2", "0 320 240 50 50", "0.5 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2 0.2 0.9"]
    dataset = yolo(one(tmp_path, "1 0.5 0.5 0.5 0.5", *bad, "0 0.5 0.5 0 0.2", "0 0.98 0.5 0.1 0.2"))
    assert [entry.partition(" ")[0] for entry in dataset.summary.broken] == [f"a.txt:{n}" for n in range(2, 7)]
    assert dataset.summary.degenerate == dataset.summary.clipped == ["a.png"]
    assert [int(label) for label in dataset[0].gt_class] == [1, 0]
    assert "coordinates are parts of the picture's size, from 0 to 1" in str(dataset.summary.broken[2])


def test_a_class_that_there_is_not_is_an_error_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.txt:2: class 3, but there are 3 classes, numbered from 0: red, green"):
        yolo(one(tmp_path, "0 0.5 0.5 0.5 0.5", "3 0.5 0.5 0.5 0.5"))


def test_images_without_labels_have_no_boxes_and_labels_without_image_are_missing(tmp_path: Path) -> None:
    one(tmp_path, "0 0.5 0.5 0.5 0.5")
    write_picture(tmp_path / "images" / "train" / "deep" / "b.png")
    write_labels(tmp_path / "labels" / "train" / "gone.txt", "1 0.5 0.5 0.5 0.5")
    write_labels(tmp_path / "labels" / "train" / "classes.txt", *CLASSES)
    dataset = yolo(tmp_path, allow_empty=True)
    assert (len(dataset), dataset.summary.empty, dataset.summary.missing) == (2, 1, ["gone.txt"])
    dataset.keep_missing()
    assert dataset.summary.boxes == {"red": 1, "green": 1, "blue": 0}
    with pytest.raises(DataError, match=r"none of its 1 images has labels; .*labels/train/deep/b\.txt would be"):
        yolo(tmp_path, image_dir="images/train/deep")


def test_a_data_yaml_gives_parts_and_names_and_odd_names_are_fine(tmp_path: Path) -> None:
    folder = one(tmp_path / "мои данные", "1 0.5 0.5 0.5 0.5", name="фото 一")
    write_picture(folder / "images" / "val" / "c.png")
    write_labels(folder / "labels" / "val" / "c.txt", "0 0.5 0.5 0.5 0.5")
    text = "path: ../datasets/mine\ntrain: ../images/train\nval: [images/val]\nnames:\n  0: 红 细胞\n  1: b\n"
    (folder / "data.yaml").write_text(text.replace("\n", "\r\n"), encoding="utf-8")
    train = YOLODataSet(str(folder), anno_path="data.yaml")
    assert (train.class_names, train[0].file.name) == (("红 细胞", "b"), "фото 一.png")
    assert YOLODataSet(str(folder), anno_path="data.yaml", split="val")[0].file.name == "c.png"
    with pytest.raises(DataError, match=r"data\.yaml has no 'test', .* its parts are train, val"):
        YOLODataSet(str(folder), anno_path="data.yaml", split="test")
    assert ImageFolder(str(folder), anno_path="data.yaml").class_names == train.class_names


def test_a_list_names_images_beside_their_labels_as_cvat_writes_it(tmp_path: Path) -> None:
    write_picture(tmp_path / "obj_train_data" / "a b.png")
    write_labels(tmp_path / "obj_train_data" / "a b.txt", "0 0.5 0.5 0.5 0.5")
    write_labels(tmp_path / "obj_train_data" / "gone.txt", "0 0.5 0.5 0.5 0.5")
    write_labels(tmp_path / "obj.names", *CLASSES)
    write_labels(tmp_path / "train.txt", "data/obj_train_data/a b.png", "data/obj_train_data/gone.png")
    dataset = yolo(tmp_path, image_dir=None, anno_path="train.txt", label_list="obj.names")
    assert (len(dataset), dataset.class_names) == (1, tuple(CLASSES))
    assert dataset.summary.missing == ["gone.png"]
    write_labels(tmp_path / "train.txt", "../../secret.png")
    with pytest.raises(DataError, match=r"train\.txt: it names .*secret\.png, which is not below"):
        yolo(tmp_path, image_dir=None, anno_path="train.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: 3", "names is no list of class names"),
        ("names: {0: a, 2: b}", "names is no list of class names"),
        ("- a", "is no data.yaml"),
        ("names: [a", "is no valid yaml"),
        ("names: [a]\ntrain: nowhere", r"it names nowhere, which is not in .*; set dataset_dir"),
    ],
)
def test_a_wrong_data_yaml_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match=message):
        YOLODataSet(str(tmp_path), anno_path="data.yaml")


def test_settings_that_are_missing_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needs anno_path, a data\.yaml or a list of images, or image_dir"):
        YOLODataSet(str(tmp_path))
    with pytest.raises(DataError, match="label_list is not set"):
        yolo(one(tmp_path, "0 0.5 0.5 0.5 0.5"), label_list=None)


def test_the_size_is_that_of_the_turned_picture(tmp_path: Path) -> None:
    from PIL import Image

    path = write_picture(tmp_path / "a.jpg", 32, 80)
    with Image.open(path) as image:
        exif = image.getexif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.jpg", exif=exif)
    assert image_size(tmp_path / "turned.jpg") == read_image(tmp_path / "turned.jpg").shape[:2] == (80, 32)
    grey = np.zeros((8, 9), np.uint16)
    assert cv2.imwrite(str(tmp_path / "grey.png"), grey) and image_size(tmp_path / "grey.png") == (8, 9)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"cannot read image .*text\.png"):
        image_size(tmp_path / "text.png")


def test_an_unreadable_picture_is_counted_and_left_out(tmp_path: Path) -> None:
    one(tmp_path, "0 0.5 0.5 0.5 0.5")
    (tmp_path / "images" / "train" / "b.png").write_bytes(b"\x89PNG")
    dataset = yolo(tmp_path)
    assert len(dataset) == 1 and dataset.summary.broken[0].startswith("b.png (cannot read image")


def test_a_configuration_reads_it_and_coco_evaluates_it(tmp_path: Path) -> None:
    one(tmp_path, "1 0.5 0.5 0.25 0.5")
    spec = {"name": "YOLODataSet", "image_dir": "images/train", "anno_path": None, "label_list": CLASSES}
    make_config(tmp_path / "c.yml", tmp_path, TrainDataset=spec, EvalDataset=spec)
    cfg = load_config(tmp_path / "c.yml")
    assert build_dataset(cfg, "TrainDataset").summary.boxes["green"] == 1
    dataset = open_dataset(cfg, "EvalDataset", 3)
    metric = COCOMetric(dataset)
    rows = np.array([[1, 0.9, 24, 12, 40, 36]], np.float32)
    metric.update({"im_id": np.array([[dataset[0].im_id]])}, {"bbox": rows, "bbox_num": np.array([1])})
    assert metric.accumulate()["AP"] == pytest.approx(1.0)

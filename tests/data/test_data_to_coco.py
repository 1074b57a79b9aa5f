"""VOC, labelme and Cityscapes as COCO json: what is written, who reads it, and what broken files are told."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ppkd.cli.to_coco import command
from ppkd.data.datasets import COCODataSet, VOCDataSet

XML = (
    "<annotation><filename>{name}.png</filename><size><width>60</width><height>40</height></size>"
    "<object><name>disc</name><bndbox><xmin>{x}</xmin><ymin>5</ymin><xmax>20</xmax><ymax>25</ymax></bndbox></object>"
    "<object><name>red cross</name><difficult>1</difficult>"
    "<bndbox><xmin>30.5</xmin><ymin>1</ymin><xmax>50</xmax><ymax>11</ymax></bndbox></object></annotation>"
)


def run(*arguments: object) -> int:
    return command([str(argument) for argument in arguments])


def pictures(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((40, 60, 3), np.uint8))
    return folder


@pytest.fixture
def voc(tmp_path: Path) -> list[object]:
    """The flags of a VOC folder with two pictures."""
    pictures(tmp_path / "JPEGImages", "a.png", "b.png")
    (tmp_path / "Annotations").mkdir()
    for name, x in (("a", 10), ("b", 15)):
        (tmp_path / "Annotations" / f"{name}.xml").write_text(XML.format(name=name, x=x))
    (tmp_path / "list.txt").write_text("JPEGImages/a.png a.xml\nb\n")
    (tmp_path / "labels.txt").write_text("disc\nred cross\n")
    return [
        "--dataset_type", "voc", "--voc_anno_dir", tmp_path / "Annotations", "--voc_anno_list", tmp_path / "list.txt",
        "--voc_label_list", tmp_path / "labels.txt", "--output_dir", tmp_path / "out",
    ]  # fmt: skip


def test_voc_as_json_holds_what_the_xml_files_say(
    voc: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*voc) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out' / 'voc.json'}: 2 images, 4 boxes, 2 classes\n"
    content = json.loads((tmp_path / "out" / "voc.json").read_text())
    assert content["images"][1] == {"id": 2, "file_name": "b.png", "height": 40, "width": 60}
    assert content["annotations"][2] == {
        "id": 3, "image_id": 2, "category_id": 1, "bbox": [15, 5, 5, 20], "area": 100, "iscrowd": 0,
    }  # fmt: skip
    assert content["categories"] == [{"id": 1, "name": "disc"}, {"id": 2, "name": "red cross"}]
    (tmp_path / "pairs.txt").write_text("".join(f"JPEGImages/{n}.png Annotations/{n}.xml\n" for n in "ab"))
    read = COCODataSet(str(tmp_path), "JPEGImages", "out/voc.json")
    same = VOCDataSet(str(tmp_path), anno_path="pairs.txt", label_list="labels.txt")
    assert read.class_names == same.class_names
    for one, other in zip(read, same, strict=True):
        assert (one.file, one.height, one.width) == (other.file, other.height, other.width)
        assert np.array_equal(one.gt_bbox, other.gt_bbox)
        assert np.array_equal(one.gt_class, other.gt_class)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("</annotation>", ""), "b.xml: no valid xml"),
        (("<name>disc</name>", "<name>disk</name>"), "b.xml: class 'disk' is not in the list of labels; did you mean"),
        (("<xmin>15</xmin>", "<xmin>left</xmin>"), "b.xml: could not convert string to float"),
        (("<width>60</width>", "<width>0</width>"), "b.xml: its <size> is no height and width above 0"),
        (("<filename>b.png</filename>", ""), "b.xml: it has no <filename>, which names the picture"),
    ],
)  # fmt: skip
def test_a_broken_xml_file_is_named_and_the_last_json_stays(
    voc: list[object], tmp_path: Path, change: tuple[str, str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "voc.json").write_text("the last one")
    path = tmp_path / "Annotations" / "b.xml"
    path.write_text(path.read_text().replace(*change))
    assert run(*voc) == 1
    assert says in capsys.readouterr().err
    assert (tmp_path / "out" / "voc.json").read_text() == "the last one"


@pytest.mark.parametrize("left", ["20", "nan"])
def test_a_box_without_area_is_left_out_and_named(
    voc: list[object], tmp_path: Path, left: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "Annotations" / "b.xml"
    path.write_text(path.read_text().replace("<xmin>15</xmin>", f"<xmin>{left}</xmin>"))
    assert run(*voc) == 0
    assert f"b.xml: the box {left}, 5, 20, 25 has no area, left out" in caplog.text
    content = json.loads((tmp_path / "out" / "voc.json").read_text())
    assert [each["image_id"] for each in content["annotations"]] == [1, 1, 2]


def test_a_missing_xml_file_and_missing_flags_are_named(
    voc: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Annotations" / "a.xml").unlink()
    assert run(*voc) == 1
    assert f"{tmp_path / 'Annotations' / 'a.xml'}: cannot be read: No such file" in capsys.readouterr().err
    assert run(*voc[:4]) == 1
    assert "--dataset_type voc needs --voc_anno_list" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run("--dataset_type", "widerface")
    assert "invalid choice: 'widerface'" in capsys.readouterr().err


def labelme(name: str, *shapes: dict[str, Any]) -> dict[str, Any]:
    return {"imagePath": f"..\\{name}", "imageHeight": 40, "imageWidth": 60, "shapes": list(shapes)}


def shape(label: str, kind: str, *points: tuple[float, float]) -> dict[str, Any]:
    return {"label": label, "shape_type": kind, "points": [list(point) for point in points]}


@pytest.fixture
def outlined(tmp_path: Path) -> list[object]:
    """The flags of a labelme folder with four pictures."""
    images = pictures(tmp_path / "images", "a.png", "b.jpg", "c.png", "d.png")
    (tmp_path / "jsons").mkdir()
    files = {
        # The rectangle's corners are drawn from right to left, the polygon reaches beyond the picture.
        "a": labelme("a.png", shape("cat", "rectangle", (30, 8), (10, 4)), shape("dog", "circle", (1, 1), (2, 2))),
        "b": labelme("b.png", shape("dog", "polygon", (50, 10), (70, 20.5), (55, 30))),
        "c": labelme("c.png"),
        "d": labelme("d.png", shape("ant", "polygon", (0, 0), (4, 0), (4, 4), (0, 4))),
    }
    for name, content in files.items():
        (tmp_path / "jsons" / f"{name}.json").write_text(json.dumps(content))
    return [
        "--dataset_type", "labelme", "--json_input_dir", tmp_path / "jsons", "--image_input_dir", images,
        "--output_dir", tmp_path / "out",
    ]  # fmt: skip


def test_labelme(outlined: list[object], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="ppkd"):
        assert run(*outlined) == 0
    assert "a.json: 1 of the kind circle left out" in caplog.text
    content = json.loads((tmp_path / "out" / "annotations" / "instance_train.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["a.png", "b.jpg", "c.png", "d.png"]
    assert [category["name"] for category in content["categories"]] == ["ant", "cat", "dog"]
    cat, dog, _ = content["annotations"]
    assert (cat["category_id"], cat["bbox"], cat["area"]) == (2, [10, 4, 20, 4], 80)
    assert cat["segmentation"] == [[10, 4, 10, 8, 30, 8, 30, 4]]
    assert (dog["category_id"], dog["image_id"], dog["bbox"]) == (3, 2, [50, 10, 10, 20])
    assert dog["segmentation"] == [[50, 10, 70, 20.5, 55, 30]]
    read = COCODataSet(str(tmp_path / "out"), "train", "annotations/instance_train.json", allow_empty=True)
    assert (len(read), read.class_names) == (4, ("ant", "cat", "dog"))


def test_divided_pictures_have_the_same_classes_and_each_is_in_one_part(outlined: list[object], tmp_path: Path) -> None:
    shares = ["--train_proportion", 0.5, "--val_proportion", 0.25, "--test_proportion", 0.25]
    assert run(*outlined, *shares) == 0
    seen: list[str] = []
    for part, count in (("train", 2), ("val", 1), ("test", 1)):
        content = json.loads((tmp_path / "out" / "annotations" / f"instance_{part}.json").read_text())
        names = [image["file_name"] for image in content["images"]]
        assert sorted(path.name for path in (tmp_path / "out" / part).iterdir()) == names
        assert len(names) == count
        assert [category["name"] for category in content["categories"]] == ["ant", "cat", "dog"]
        seen += names
    assert sorted(seen) == ["a.png", "b.jpg", "c.png", "d.png"]


def test_cityscapes(tmp_path: Path) -> None:
    images = pictures(tmp_path / "images", "bonn.png")
    content = {"imgHeight": 40, "imgWidth": 60, "objects": [{"label": "car", "polygon": [[5, 5], [9, 5], [7, 12]]}]}
    (tmp_path / "bonn.json").write_text(json.dumps(content))
    flags = ["--dataset_type", "cityscape", "--json_input_dir", tmp_path, "--image_input_dir", images]
    assert run(*flags, "--output_dir", tmp_path, "--train_proportion", 0, "--test_proportion", 1) == 0
    found = json.loads((tmp_path / "annotations" / "instance_test.json").read_text())
    assert [each["bbox"] for each in found["annotations"]] == [[5, 5, 4, 7]]
    assert not (tmp_path / "train").exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "b.json: the annotation of b.jpg cannot be read: No such file"),
        ("{", "b.json: no valid json"),
        ("[]", "b.json: an entry is missing or of a wrong kind (TypeError"),
        ('{"imageHeight": 40, "imageWidth": 60}', "b.json: an entry is missing or of a wrong kind (KeyError"),
        (json.dumps({**labelme("b"), "imageWidth": -1}), "b.json: imageHeight and imageWidth are no height and width"),
        (json.dumps(labelme("b", shape("x", "polygon", (1, 1), (2, 2)))), "(ValueError: points are [[1, 1], [2, 2]])"),
        (json.dumps(labelme("b", shape("x", "rectangle", (70, 1), (80, 2)))), "class 'x' has no area within"),
        (json.dumps(labelme("b", {"label": "x"})), "(KeyError: 'shape_type')"),
    ],
)  # fmt: skip
def test_a_broken_json_is_named_and_nothing_is_written(
    outlined: list[object], tmp_path: Path, content: str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "jsons" / "b.json"
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert run(*outlined) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert says in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--train_proportion", "0.5"], "[0.5, 0.0, 0.0]; they must add up to 1"),
        (["--train_proportion", "1.5", "--val_proportion", "-0.5"], "[1.5, -0.5, 0.0]; they must add up to 1"),
        (["--image_input_dir", "nowhere"], "nowhere: no such folder"),
    ],
)
def test_mistakes_in_flags(
    outlined: list[object], flags: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*outlined, *flags) == 1
    assert says in capsys.readouterr().err

"""Damaged and senseless annotations: a data set or a :class:`DataError`, never another exception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from data.reader_cases import CLASSES, coco_content, write_coco, write_picture, write_xml
from hypothesis import given
from hypothesis import strategies as st
from mutations import NAMES, NUMBERS, altered, damaged

from ppkd.data.datasets import COCODataSet, DetectionDataset, VOCDataSet, YOLODataSet
from ppkd.data.datasets.dataset import read_labels
from ppkd.metrics import COCOMetric, VOCMetric
from ppkd.utils.errors import DataError

CONTENT = coco_content(3)
XML = """<?xml version="1.0"?>
<!DOCTYPE annotation>
<annotation><size><width>64</width><height>48</height></size>
<object><name>red</name><difficult>0</difficult>
<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
<object><name>blue</name><bndbox><xmin>1.5</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>
</annotation>
"""


@pytest.fixture(scope="module")
def coco(scratch: Path) -> Path:
    return write_coco(scratch, 3)


@pytest.fixture(scope="module")
def voc(scratch: Path) -> Path:
    write_picture(scratch / "JPEGImages" / "a.png")
    write_xml(scratch / "Annotations" / "a.xml", [])
    (scratch / "list.txt").write_text("a\n")
    return scratch


def is_sound(dataset: DetectionDataset) -> None:
    """Every box is finite, has an area, and a class that there is; it can be told in the log and evaluated on."""
    for annotation in dataset:
        boxes = annotation.gt_bbox
        assert np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        assert all(0 <= label < len(dataset.class_names) for label in annotation.gt_class)
    assert str(dataset.summary)
    metric = (COCOMetric if dataset.anno_path.suffix == ".json" else VOCMetric)(dataset)
    for annotation in dataset:
        detection = np.array([[0, 0.5, 1, 2, 30, 40]])
        metric.update({"im_id": np.array([[annotation.im_id]])}, {"bbox": detection, "bbox_num": np.array([1])})
    assert all(-1 <= figure <= 1 for figure in metric.accumulate().values())


def opens_or_refuses(folder: Path, content: bytes) -> None:
    (folder / "a.json").write_bytes(content)
    try:
        is_sound(COCODataSet(str(folder), "images", "a.json", allow_empty=True, load_crowd=True))
    except DataError as error:
        assert "a.json" in str(error)


@given(content=damaged(json.dumps(CONTENT).encode()))
def test_damaged_json(content: bytes, coco: Path) -> None:
    opens_or_refuses(coco, content)


@given(content=altered(CONTENT))
def test_senseless_json(content: Any, coco: Path) -> None:
    opens_or_refuses(coco, json.dumps(content).encode())


@given(boxes=st.lists(st.lists(NUMBERS, min_size=4, max_size=4), max_size=3), names=st.lists(NAMES, max_size=2))
def test_senseless_boxes_and_file_names(boxes: list[list[float]], names: list[str], coco: Path) -> None:
    content = coco_content(3)
    content["annotations"] = [
        {"id": index, "image_id": 11, "category_id": 7, "bbox": box} for index, box in enumerate(boxes)
    ]
    content["images"] += [{"id": 50 + index, "file_name": name} for index, name in enumerate(names)]
    opens_or_refuses(coco, json.dumps(content).encode())


def xml_opens_or_refuses(folder: Path, content: bytes) -> None:
    (folder / "Annotations" / "a.xml").write_bytes(content)
    try:
        is_sound(VOCDataSet(str(folder), None, "list.txt", label_list=CLASSES, allow_empty=True))
    except DataError as error:
        assert "a.xml" in str(error)


@given(content=damaged(XML.encode()))
def test_damaged_xml(content: bytes, voc: Path) -> None:
    xml_opens_or_refuses(voc, content)


@given(text=st.lists(NUMBERS.map(str) | st.text(max_size=5), min_size=1, max_size=8), fields=st.data())
def test_senseless_xml_fields(text: list[str], fields: st.DataObject, voc: Path) -> None:
    tree = ElementTree.fromstring(XML)
    nodes = list(tree.iter())
    for value in text:
        fields.draw(st.sampled_from(nodes)).text = value
    xml_opens_or_refuses(voc, ElementTree.tostring(tree, "utf-8"))


@given(content=damaged("red\ngreen\n\nblue ☃\n".encode()) | st.binary(max_size=40))
def test_label_lists(content: bytes, scratch: Path) -> None:
    (scratch / "labels.txt").write_bytes(content)
    try:
        assert all(name == name.strip() != "" for name in read_labels(scratch / "labels.txt"))
    except DataError as error:
        assert "labels.txt" in str(error)


@given(content=damaged(b"JPEGImages/a.png Annotations/a.xml\n") | NAMES.map(lambda n: n.encode(errors="surrogatepass")))
def test_image_lists(content: bytes, voc: Path) -> None:
    write_xml(voc / "Annotations" / "a.xml", [("red", [1, 2, 30, 40])])
    (voc / "broken.txt").write_bytes(content)
    try:
        is_sound(VOCDataSet(str(voc), None, "broken.txt", label_list=CLASSES))
    except DataError as error:
        assert "broken.txt" in str(error)


@pytest.fixture(scope="module")
def yolo(scratch: Path) -> Path:
    write_picture(scratch / "yolo" / "images" / "a.png")
    (scratch / "yolo" / "labels").mkdir()
    return scratch / "yolo"


@given(content=damaged(b"0 0.5 0.5 0.2 0.2\r\n1 0.1 0.1 0.9 0.1 0.5 0.9\n") | st.binary(max_size=60))
def test_yolo_labels(content: bytes, yolo: Path) -> None:
    (yolo / "labels" / "a.txt").write_bytes(content)
    try:
        is_sound(YOLODataSet(str(yolo), "images", label_list=CLASSES, allow_empty=True))
    except DataError as error:
        assert "a.txt" in str(error)


@given(content=damaged(b"names: {0: red, 1: blue}\ntrain: ../images\npath: x\n") | st.binary(max_size=60))
def test_data_yaml(content: bytes, yolo: Path) -> None:
    (yolo / "labels" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (yolo / "data.yaml").write_bytes(content)
    try:
        is_sound(YOLODataSet(str(yolo), anno_path="data.yaml", allow_empty=True))
    except DataError as error:
        assert "data.yaml" in str(error) or "images" in str(error)

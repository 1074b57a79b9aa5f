"""COCO, VOC and image folders: what is loaded, what is dropped and counted, and what is refused."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from reader_cases import CLASSES, coco_content, make_config, write_coco, write_picture, write_xml

from ppkd.config import build, load_config
from ppkd.data import build_dataset
from ppkd.data.datasets import COCODataSet, ImageFolder, VOCDataSet, labels
from ppkd.utils.errors import ConfigError, DataError


def coco(folder: Path, **settings: object) -> COCODataSet:
    return COCODataSet(dataset_dir=str(folder), image_dir="images", anno_path="a.json", **settings)


def voc(folder: Path, lines: list[str], **settings: object) -> VOCDataSet:
    (folder / "list.txt").write_text("\n".join(lines) + "\n")
    return VOCDataSet(dataset_dir=str(folder), anno_path="list.txt", label_list=CLASSES, **settings)


def test_coco_boxes_become_corners_and_classes_follow_the_order_of_the_file(tmp_path: Path) -> None:
    content = coco_content(2)
    content["annotations"][0]["category_id"] = 90
    dataset = coco(write_coco(tmp_path, 2, content))
    (only,) = dataset
    assert dataset.class_names == tuple(CLASSES)
    assert dataset.category_ids == (7, 3, 90)
    assert (only.im_id, only.height, only.width, only.file.name) == (11, 48, 64, "1.png")
    np.testing.assert_array_equal(only.gt_bbox, [[4, 5, 24, 35]])
    np.testing.assert_array_equal(only.gt_class, [2])


def test_images_without_boxes_are_kept_on_demand_and_counted(tmp_path: Path) -> None:
    write_coco(tmp_path, 9)
    assert len(coco(tmp_path)) == 6
    assert coco(tmp_path).summary.empty_left_out == 3
    every = coco(tmp_path, allow_empty=True)
    assert len(every) == 9
    assert every.summary.empty == 3
    assert every.summary.boxes == {"red": 9, "green": 0, "blue": 0}
    quarter = coco(tmp_path, allow_empty=True, empty_ratio=0.25)
    assert (len(quarter), quarter.summary.empty) == (8, 2)
    assert len(coco(tmp_path, sample_num=4)) == 4


def test_bad_boxes_are_clipped_or_dropped_and_named(tmp_path: Path) -> None:
    content = coco_content(3)
    boxes = [
        [-10, 5, 30, 20],
        [50, 40, 30, 30],
        [70, 5, 10, 10],
        [5, 5, 0, 10],
        [5, 5, float("nan"), 10],
        [0, 0, 64.4, 48],
    ]
    content["annotations"] = [
        {"id": i, "image_id": 12, "category_id": 7, "bbox": box, "iscrowd": 0} for i, box in enumerate(boxes)
    ]
    dataset = coco(write_coco(tmp_path, 3, content))
    np.testing.assert_allclose(dataset[0].gt_bbox, [[0, 5, 20, 25], [50, 40, 64, 48], [0, 0, 64, 48]])
    assert dataset.summary.degenerate == ["2.png"] * 3
    assert dataset.summary.clipped == ["2.png"] * 2
    text = str(dataset.summary)
    assert "3 boxes without area dropped: 2.png" in text
    assert "2 boxes clipped" in text


def test_crowd_boxes_are_loaded_on_demand_with_their_flag(tmp_path: Path) -> None:
    content = coco_content(3)
    content["annotations"][1]["iscrowd"] = 1
    write_coco(tmp_path, 3, content)
    assert sum(len(a.gt_class) for a in coco(tmp_path)) == 2
    loaded = coco(tmp_path, load_crowd=True)
    assert loaded.summary.crowd == 1
    np.testing.assert_array_equal(loaded[1].is_crowd, [1, 0])


def test_missing_images_are_counted_and_all_missing_is_an_error(tmp_path: Path) -> None:
    write_coco(tmp_path, 6)
    (tmp_path / "images" / "4.png").unlink()
    dataset = coco(tmp_path)
    assert dataset.summary.missing == ["4.png"]
    assert "4.png" not in {a.file.name for a in dataset}
    with pytest.raises(DataError, match=r"none of its 6 images.*check dataset_dir and image_dir"):
        COCODataSet(dataset_dir=str(tmp_path), image_dir="elsewhere", anno_path="a.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["images"].append({**c["images"][0], "file_name": "other.png"}),
            "0.png and other.png share the id",
        ),
        (lambda c: c["annotations"][0].update(category_id=8), "has category_id 8"),
        (lambda c: c["annotations"][0].update(bbox=[1, 2, 3]), r"bbox \[1, 2, 3\], expected \[x, y, width, height\]"),
        (lambda c: c["annotations"][0].pop("bbox"), "no 'bbox'"),
        (lambda c: c["images"][0].pop("file_name"), "no 'file_name'"),
        (lambda c: c["images"][0].update(id="zero"), "expected an integer"),
        (lambda c: c["categories"].append({"id": 7, "name": "again"}), "share the id 7"),
        (lambda c: c.pop("categories"), "no list 'categories'"),
        (lambda c: c.update(annotations=None), "no list 'annotations'"),
        (lambda c: c["annotations"][0].update(image_id=[11]), "wrong 'image_id'"),
        (lambda c: c["annotations"][0].update(category_id=[7]), "wrong 'category_id'"),
        (lambda c: c["annotations"][0].update(bbox=[0, 0, 10**400, 5]), "expected \\[x, y, width, height\\]"),
        (lambda c: c["images"][0].update(file_name=None), "wrong 'file_name'"),
        (lambda c: c["images"][0].update(id=10**30), "expected an integer"),
        (lambda c: c["categories"].append({"id": [8], "name": "list"}), "wrong 'id'"),
        (lambda c: c["categories"].append({"id": "8", "name": "text"}), "wrong 'id'"),
    ],
)
def test_a_malformed_json_is_an_error_that_says_where(tmp_path: Path, change: object, message: str) -> None:
    content = coco_content(3)
    change(content)
    write_coco(tmp_path, 3, content)
    with pytest.raises(DataError, match=message) as error:
        coco(tmp_path)
    assert "a.json" in str(error.value)


def test_a_missing_or_broken_json_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read annotations .*a\.json"):
        coco(tmp_path)
    for text in ('{"images": [', "[" * 100_000):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(DataError, match=r"a\.json is no valid json"):
            coco(tmp_path)


@pytest.mark.parametrize("stated", [float("nan"), float("inf"), -48, "high", [48], None, 2**63, "1e30"])
def test_a_senseless_image_size_is_an_unknown_one(tmp_path: Path, stated: object) -> None:
    content = coco_content(2)
    content["images"][1].update(height=stated)
    (only,) = coco(write_coco(tmp_path, 2, content))
    assert (only.height, only.width) == (0, 64)
    np.testing.assert_array_equal(only.gt_bbox, [[4, 5, 24, 35]])


@pytest.mark.filterwarnings("error")
def test_infinite_boxes_are_dropped_and_named(tmp_path: Path) -> None:
    content = coco_content(3)
    content["images"][1].update(height=0, width=0)
    for entry, box in zip(
        content["annotations"], ([0, 0, float("inf"), 9], [float("-inf"), 0, 1e300, 9]), strict=False
    ):
        entry.update(bbox=box)
    dataset = coco(write_coco(tmp_path, 3, content), allow_empty=True)
    assert dataset.summary.degenerate == ["1.png", "2.png"]
    assert [len(annotation.gt_bbox) for annotation in dataset] == [0, 0, 1]


def test_categories_of_one_name_are_counted_together(tmp_path: Path) -> None:
    content = coco_content(3)
    content["categories"][1]["name"] = "red"
    dataset = coco(write_coco(tmp_path, 3, content))
    assert dataset.class_names == ("red", "red", "blue")
    assert dataset.summary.boxes == {"red": 3, "blue": 0}


def test_boxes_of_unlisted_images_are_counted(tmp_path: Path) -> None:
    content = coco_content(3)
    content["annotations"].append({"id": 9, "image_id": 999, "category_id": 7, "bbox": [0, 0, 5, 5]})
    assert coco(write_coco(tmp_path, 3, content)).summary.orphans == 1


def test_voc_lists_of_pairs_and_of_ids_load_the_same(tmp_path: Path) -> None:
    for name in ("one", "two words"):
        write_picture(tmp_path / "JPEGImages" / f"{name}.png")
        write_xml(tmp_path / "Annotations" / f"{name}.xml", [("green", [1, 2, 30, 40]), ("red", [5, 5, 10, 10])])
    pairs = voc(tmp_path, [f"JPEGImages/{n}.png Annotations/{n}.xml" for n in ("one", "two words")])
    ids = voc(tmp_path, ["one"])
    assert [a.file.name for a in pairs] == ["one.png", "two words.png"]
    assert [a.im_id for a in pairs] == [0, 1]
    assert ids[0].file == pairs[0].file
    np.testing.assert_array_equal(ids[0].gt_bbox, [[1, 2, 30, 40], [5, 5, 10, 10]])
    np.testing.assert_array_equal(ids[0].gt_class, [1, 0])
    assert ids.category_ids == (1, 2, 3)


def test_voc_tolerates_absent_fields(tmp_path: Path) -> None:
    write_picture(tmp_path / "JPEGImages" / "a.png")
    write_xml(tmp_path / "Annotations" / "a.xml", [("red", [1, 2, 300, 40])], size=None)
    (only,) = voc(tmp_path, ["a"])
    assert (only.height, only.width) == (0, 0)
    np.testing.assert_array_equal(only.difficult, [0])
    np.testing.assert_array_equal(only.gt_bbox, [[1, 2, 300, 40]])


def test_voc_counts_missing_and_damaged_files(tmp_path: Path) -> None:
    for name in "abcd":
        write_picture(tmp_path / "JPEGImages" / f"{name}.png")
        write_xml(tmp_path / "Annotations" / f"{name}.xml", [("red", [1, 2, 30, 40])])
    (tmp_path / "JPEGImages" / "b.png").unlink()
    (tmp_path / "Annotations" / "c.xml").unlink()
    (tmp_path / "Annotations" / "d.xml").write_text("<annotation><object>")
    dataset = voc(tmp_path, list("abcd"))
    assert len(dataset) == 1
    assert dataset.summary.missing == ["b.jpg", "c.xml"]
    assert dataset.summary.broken[0].startswith("d.xml")
    with pytest.raises(DataError, match="no usable image"):
        voc(tmp_path, ["b", "c"])


def test_voc_refuses_unknown_classes_and_xml_entities(tmp_path: Path) -> None:
    write_picture(tmp_path / "JPEGImages" / "a.png")
    write_xml(tmp_path / "Annotations" / "a.xml", [("gren", [1, 2, 30, 40])])
    with pytest.raises(DataError, match=r"a\.xml: class 'gren'.*did you mean 'green'"):
        voc(tmp_path, ["a"])
    bomb = '<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><annotation><filename>&y;</filename></annotation>'
    (tmp_path / "Annotations" / "a.xml").write_text(bomb)
    with pytest.raises(DataError, match=r"a\.xml \(declares entities\)"):
        voc(tmp_path, ["a"])


@pytest.mark.parametrize(("side", "read"), [("inf", 0), ("nan", 0), ("many", 0), ("-4", 0), ("64.0", 64)])
def test_voc_reads_a_width_that_makes_sense(tmp_path: Path, side: str, read: int) -> None:
    write_picture(tmp_path / "JPEGImages" / "a.png")
    path = write_xml(tmp_path / "Annotations" / "a.xml", [("red", [1, 2, 30, 40])])
    path.write_text(path.read_text().replace("<width>64<", f"<width>{side}<"))
    (only,) = voc(tmp_path, ["a"])
    assert (only.height, only.width) == (48, read)


def test_voc_counts_a_file_in_an_unknown_encoding(tmp_path: Path) -> None:
    for name in "ab":
        write_picture(tmp_path / "JPEGImages" / f"{name}.png")
        path = write_xml(tmp_path / "Annotations" / f"{name}.xml", [("red", [1, 2, 30, 40])])
    path.write_text('<?xml version="1.0" encoding="martian"?>' + path.read_text())
    dataset = voc(tmp_path, ["a", "b"])
    assert [entry[:5] for entry in dataset.summary.broken] == ["b.xml"]


def test_lists_are_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    write_picture(tmp_path / "JPEGImages" / "a.png")
    write_xml(tmp_path / "Annotations" / "a.xml", [("red", [1, 2, 30, 40])])
    settings = {"dataset_dir": str(tmp_path), "anno_path": "list.txt", "label_list": "labels.txt"}
    (tmp_path / "list.txt").write_text("a", encoding="utf-8-sig")
    (tmp_path / "labels.txt").write_text("red\nblue\n", encoding="utf-8-sig")
    assert VOCDataSet(**settings).class_names == ("red", "blue")
    for name in ("list.txt", "labels.txt"):
        (tmp_path / name).write_bytes(b"\xff\xfea\x00")
        with pytest.raises(DataError, match=rf"{name} is no UTF-8 text"):
            VOCDataSet(**settings)


def test_voc_needs_its_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*gone.txt"):
        VOCDataSet(dataset_dir=str(tmp_path), anno_path="gone.txt")
    with pytest.raises(DataError, match=r"cannot read .*labels\.txt.*label_list with one class name per line"):
        VOCDataSet(dataset_dir=str(tmp_path), anno_path="gone.txt", label_list="labels.txt")


def test_image_folder_takes_names_from_wherever_they_are(tmp_path: Path) -> None:
    write_coco(tmp_path, 3)
    named = ImageFolder(dataset_dir=str(tmp_path), image_dir="images", anno_path="a.json")
    assert named.class_names == tuple(CLASSES)
    assert named.category_ids == (7, 3, 90)
    assert [a.file.name for a in named] == ["0.png", "1.png", "2.png"]
    assert not any(a.labelled for a in named)
    assert ImageFolder(anno_path="gone.json").class_names == labels.COCO
    assert ImageFolder(anno_path="gone.json").category_ids[-1] == 90
    assert ImageFolder(num_classes=20).class_names == labels.VOC
    assert len(ImageFolder(num_classes=4).class_names) == 4
    with pytest.raises(DataError, match=r"cannot read gone\.txt.*label_list"):
        ImageFolder(label_list="gone.txt")
    with pytest.raises(DataError, match="no image or folder"):
        ImageFolder(image_dir=str(tmp_path / "gone"))


def test_data_sets_are_built_from_a_configuration(tmp_path: Path) -> None:
    cfg = make_config(tmp_path / "c.yml", write_coco(tmp_path, 6))
    assert len(build_dataset(cfg, "TrainDataset")) == 6
    images = [tmp_path / "images" / "2.png"]
    assert [a.file for a in build_dataset(cfg, "TestDataset", images=images)] == images


def test_an_unlabelled_set_forgets_its_boxes(tmp_path: Path) -> None:
    write_coco(tmp_path, 6)
    text = f"UnlabelledDataset: {{name: COCODataSet, dataset_dir: {tmp_path}, image_dir: images, anno_path: a.json}}"
    (tmp_path / "slim.yml").write_text(text)
    dataset = build_dataset(load_config(tmp_path / "slim.yml"), "UnlabelledDataset")
    assert len(dataset) == 4
    assert all(len(a.gt_class) == 0 and not a.labelled for a in dataset)


def test_an_emptied_data_set_names_its_key(tmp_path: Path) -> None:
    cfg = make_config(tmp_path / "c.yml", write_coco(tmp_path, 3))
    with pytest.raises(ConfigError, match=r"^-o: EvalDataset is empty"):
        build_dataset(load_config(cfg.path, ["EvalDataset=null"]), "EvalDataset")


def test_a_mistyped_setting_or_transform_names_the_nearest(tmp_path: Path) -> None:
    cfg = make_config(tmp_path / "c.yml", write_coco(tmp_path, 3))
    with pytest.raises(ConfigError, match=r"alow_empty.*did you mean 'allow_empty'"):
        build(cfg, {"name": "COCODataSet", "alow_empty": True})
    with pytest.raises(ConfigError, match=r"RandomFlop.*did you mean 'RandomFlip'"):
        build(cfg, {"RandomFlop": {}})


def test_bccd_loads_whole_and_its_two_degenerate_boxes_are_named(real_data: Path) -> None:
    parts = [
        VOCDataSet(
            dataset_dir=str(real_data / "bccd"), anno_path=f"ImageSets/Main/{name}.txt", label_list="label_list.txt"
        )
        for name in ("trainval", "test")
    ]
    assert sum(map(len, parts)) == 364
    dropped = [name for part in parts for name in part.summary.degenerate]
    assert sorted(dropped) == ["BloodImage_00338.jpg", "BloodImage_00343.jpg"]
    assert sum(sum(part.summary.boxes.values()) for part in parts) == 4155 + 372 + 361 - 2
    assert all((a.gt_bbox[:, 2:] > a.gt_bbox[:, :2]).all() for part in parts for a in part)


def test_coco_tiny_loads(real_data: Path) -> None:
    folder = str(real_data / "coco_tiny")
    train = COCODataSet(folder, "train2017", "annotations/instances_train2017.json", allow_empty=True)
    val = COCODataSet(folder, "val2017", "annotations/instances_val2017.json", allow_empty=True)
    assert (len(train), sum(train.summary.boxes.values()), train.summary.empty) == (64, 542, 1)
    assert (len(val), sum(val.summary.boxes.values())) == (32, 221)
    assert val.class_names == labels.COCO
    assert val.category_ids == labels.COCO_IDS


@pytest.mark.slow
def test_twenty_thousand_images_open_in_seconds(tmp_path: Path) -> None:
    content = coco_content(20000)
    folder = write_coco(tmp_path, 1, content)
    for i in range(1, 20000):
        (folder / "images" / f"{i}.png").touch()
    start = time.perf_counter()
    assert len(coco(folder, allow_empty=True)) == 20000
    assert time.perf_counter() - start < 10
    assert json.loads((folder / "a.json").read_text())["images"][-1]["id"] == 20009

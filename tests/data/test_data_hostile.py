"""Annotation files and images made to harm or to break: refused, or named and left out, within seconds."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from reader_cases import CLASSES, coco_content, make_config, write_coco, write_picture, write_xml

from ppkd.config import build, load_config
from ppkd.data import build_dataset, build_loader, build_reader
from ppkd.data.annotation import Annotation
from ppkd.data.datasets import COCODataSet, VOCDataSet
from ppkd.data.table import AnnotationTable
from ppkd.utils.errors import ConfigError, DataError


def opened(folder: Path, name: str) -> COCODataSet:
    content = coco_content(3)
    content["images"][2]["file_name"] = name
    return COCODataSet(str(write_coco(folder, 3, content)), "images", "a.json")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../../x.png", "../images/../../2.png"])
def test_a_json_cannot_name_files_outside_the_data(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"a\.json: it names .*, which is not below .*; set dataset_dir"):
        opened(tmp_path / "data", name)


def test_a_list_cannot_name_files_outside_the_data(tmp_path: Path) -> None:
    write_picture(tmp_path / "data" / "JPEGImages" / "a.png")
    (tmp_path / "data" / "list.txt").write_text("JPEGImages/a.png ../x.xml\n")
    with pytest.raises(DataError, match=r"list\.txt: it names .*x\.xml, which is not below"):
        VOCDataSet(str(tmp_path / "data"), None, "list.txt")


def test_paths_relative_to_the_current_folder_are_held_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_coco(tmp_path, 3)
    monkeypatch.chdir(tmp_path)
    assert len(COCODataSet(None, "images", "a.json")) == 2
    content = coco_content(3)
    content["images"][2]["file_name"] = str(tmp_path / "images" / "2.png")
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert len(COCODataSet(None, "images", "a.json")) == 2
    content["images"][2]["file_name"] = "/etc/passwd"
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="not below"):
        COCODataSet(None, None, "a.json")


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800", "", "images"])
def test_names_that_no_image_can_have_are_counted_as_missing(tmp_path: Path, name: str) -> None:
    dataset = opened(tmp_path, name)
    assert (len(dataset), dataset.summary.missing) == (1, [name])


def test_links_inside_the_data_are_followed(tmp_path: Path) -> None:
    elsewhere = write_picture(tmp_path / "elsewhere" / "p.png")
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "link.png").symlink_to(elsewhere)
    content = coco_content(3)
    content["images"][2]["file_name"] = "link.png"
    (tmp_path / "data" / "a.json").write_text(json.dumps(content))
    (only,) = COCODataSet(str(tmp_path / "data"), "images", "a.json")
    assert only.file.name == "link.png"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(images=[]), "lists no image"),
        (lambda c: [a.update(image_id=900) for a in c["annotations"]], "none of its annotations belongs to an image"),
        (lambda c: c.update(annotations=[]), "TrainDataset has no box to learn from"),
        (lambda c: [a.update(bbox=[9, 9, -4, -4]) for a in c["annotations"]], "3 boxes without area dropped"),
    ],
)
def test_a_training_set_without_anything_to_learn_is_an_error(tmp_path: Path, change: object, message: str) -> None:
    content = coco_content(3)
    change(content)
    cfg = make_config(tmp_path / "c.yml", write_coco(tmp_path, 3, content))
    with pytest.raises(DataError, match=message):
        build_dataset(cfg, "TrainDataset")


def test_repeated_annotation_ids_are_no_repeated_boxes(tmp_path: Path) -> None:
    content = coco_content(3)
    for entry in content["annotations"]:
        entry["id"] = 1
    dataset = COCODataSet(str(write_coco(tmp_path, 3, content)), "images", "a.json")
    assert dataset.summary.boxes["red"] == 3


def png(width: int, height: int) -> bytes:
    """The header of a grey picture of that size, and hardly any pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_a_picture_that_claims_billions_of_pixels_is_refused_at_once(tmp_path: Path, root: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(png(20000, 20000))
    code = (
        "import sys; from ppkd.utils.runtime import prepare; prepare()\n"
        "from ppkd.data.image import read_image\nread_image(sys.argv[1])"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, str(tmp_path / "bomb.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root, timeout=60)
    assert "bomb.png: it is larger than the 134217728 pixels of OPENCV_IO_MAX_IMAGE_PIXELS" in done.stderr
    assert time.perf_counter() - start < 20


def test_images_of_one_pixel_and_of_twenty_thousand_go_through_every_transform(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, 9)
    for name, (height, width) in {"1": (1, 1), "4": (4, 20000), "7": (20000, 4)}.items():
        assert cv2.imwrite(str(folder / "images" / f"{name}.png"), np.zeros((height, width, 3), np.uint8))
    cfg = make_config(tmp_path / "c.yml", folder)
    for mode in ("Train", "Eval"):
        reader = build_loader(build_reader(cfg, mode), build_dataset(cfg, f"{mode}Dataset"))
        for epoch in range(3):
            reader.start(epoch)
            for batch in reader:
                assert np.isfinite(batch["image"].numpy()).all()
                for boxes in batch["gt_bbox"]:
                    assert np.isfinite(boxes.numpy()).all()
        assert not reader.unreadable


def test_a_missing_evaluation_image_stays_in_the_set_and_a_missing_training_image_does_not(tmp_path: Path) -> None:
    cfg = make_config(tmp_path / "c.yml", write_coco(tmp_path, 6))
    (tmp_path / "images" / "4.png").unlink()
    assert len(build_dataset(cfg, "TrainDataset")) == 5
    evaluated = build_dataset(cfg, "EvalDataset")
    assert [annotation.im_id for annotation in evaluated] == [10, 11, 12, 13, 15, 14]
    assert "1 images or annotations missing: 4.png" in str(evaluated.summary)
    reader = build_loader(build_reader(cfg, "Eval"), evaluated)
    seen = [int(i) for batch in reader for i in batch["im_id"].numpy().ravel()]
    assert (seen, reader.lost) == ([10, 11, 12, 13, 15], [14])


def test_a_missing_evaluation_image_of_a_voc_set_stays_with_its_boxes(tmp_path: Path) -> None:
    for name in "ab":
        write_picture(tmp_path / "JPEGImages" / f"{name}.png")
        write_xml(tmp_path / "Annotations" / f"{name}.xml", [("red", [1, 2, 30, 40])])
    (tmp_path / "JPEGImages" / "b.png").unlink()
    (tmp_path / "list.txt").write_text("a\nb\n")
    dataset = VOCDataSet(str(tmp_path), None, "list.txt", label_list=CLASSES)
    assert (len(dataset), dataset.summary.missing) == (1, ["b.jpg"])
    dataset.keep_missing()
    assert [len(annotation.gt_class) for annotation in dataset] == [1, 1]


def test_decode_does_not_belong_to_batches(tmp_path: Path) -> None:
    cfg = make_config(tmp_path / "c.yml", tmp_path, TrainReader={"batch_transforms": [{"Decode": {}}]})
    with pytest.raises(ConfigError, match=r"Decode reads one image: move it to TrainReader\.sample_transforms"):
        build_reader(cfg, "Train")


def test_a_transforms_wrong_value_is_found_without_any_data(tmp_path: Path) -> None:
    cfg = make_config(tmp_path / "c.yml", tmp_path / "nowhere")
    assert build_reader(cfg, "Train").settings.training and not build_reader(cfg, "Eval").settings.training
    with pytest.raises(ConfigError, match="target_size is 0"):
        build_reader(load_config(cfg.path, ["EvalReader.sample_transforms.1.Resize.target_size=0"]), "Eval")
    assert build(cfg, "EvalReader").batch_size == 2


def test_a_table_gives_back_what_it_was_given() -> None:
    boxes = np.arange(8, dtype=np.float32).reshape(2, 4)
    numbers = np.array([3, 1])
    given = [
        Annotation.bare(Path("a/é.png"), 2**62, 3, 4),
        Annotation(Path("/b.png"), -5, 0, 0, boxes, numbers, numbers * 0, numbers * 0 + 1),
        Annotation.bare(Path("\ud800"), 7),
    ]
    table = AnnotationTable(given)
    assert len(table) == 3
    for ours, theirs in zip([*table, table[-1]], [*given, given[-1]], strict=True):
        assert (ours.file, ours.im_id, ours.height, ours.width, ours.labelled) == (
            *(theirs.file, theirs.im_id, theirs.height, theirs.width),
            theirs.labelled,
        )
        for key in ("gt_bbox", "gt_class", "is_crowd", "difficult"):
            np.testing.assert_array_equal(getattr(ours, key), getattr(theirs, key))
            assert getattr(ours, key).dtype == getattr(theirs, key).dtype
    assert [each.im_id for each in table[1:]] == [-5, 7]
    assert len(AnnotationTable([])) == 0
    with pytest.raises(IndexError):
        table[3]
    with pytest.raises(ValueError, match="read-only"):
        table[1].gt_bbox[0] = 0

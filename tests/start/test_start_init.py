"""``ppkd init``: what it recognises, counts, divides and writes, and that what it writes trains without ``-o``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import call
from data.reader_cases import CLASSES, coco_content, write_coco, write_picture, write_xml

from ppkd.config import load_config
from ppkd.data import build_dataset
from ppkd.experiment import Experiment
from ppkd.start.divide import choose
from ppkd.start.found import part_of
from ppkd.start.init import init
from ppkd.start.suggest import suggest
from ppkd.utils.errors import ConfigError, DataError

LINE = "0 0.5 0.5 0.5 0.5"


def text(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def begin(folder: Path, **settings: object) -> tuple[str, Path]:
    """What is said of ``folder``, and the folder of what is written."""
    output = folder.parent / "out"
    said = init(folder, output, **{"gpu": False, "overwrite": False, **settings})
    return "\n".join(said), output


def parts(output: Path, name: str) -> tuple[list[str], list[str]]:
    """The images of training and validation, as the written configuration reads them."""
    cfg = load_config(output / f"{name}_student.yml")
    sets = [build_dataset(cfg, key) for key in ("TrainDataset", "EvalDataset")]
    train, val = ([annotation.file.name for annotation in dataset] for dataset in sets)
    return train, val


def coco_whole(folder: Path) -> str:
    write_coco(folder, 9)
    return "COCO json"


def coco_of_cvat(folder: Path) -> str:
    write_coco(folder / "x", 9)
    (folder / "annotations").mkdir()
    shutil.move(folder / "x" / "a.json", folder / "annotations" / "instances_default.json")
    shutil.move(folder / "x" / "images", folder / "images")
    return "COCO json"


def coco_of_label_studio(folder: Path) -> str:
    content = coco_content(9)
    for image in content["images"]:
        image["file_name"] = f"..\\..\\label-studio\\data\\upload\\1\\{image['file_name']}"
    write_coco(folder, 9, content)
    (folder / "a.json").rename(folder / "result.json")
    return "COCO json of Label Studio"


def voc_of_cvat(folder: Path) -> str:
    for i in range(6):
        write_picture(folder / "JPEGImages" / "sub" / f"{i}.png")
        write_xml(folder / "Annotations" / "sub" / f"{i}.xml", [("красный" if i % 2 else "b c", [1, 2, 30, 40])])
    text(folder / "ImageSets" / "Main" / "default.txt", *(f"sub/{i}" for i in range(6)))
    text(folder / "labelmap.txt", "# label:color_rgb:parts:actions", "background:0,0,0::")
    return "Pascal VOC xml"


def yolo_of_cvat(folder: Path) -> str:
    for i in range(6):
        write_picture(folder / "obj_train_data" / f"{i} a.png")
        text(folder / "obj_train_data" / f"{i} a.txt", LINE)
    text(folder / "obj.names", *CLASSES)
    text(folder / "obj.data", "classes = 3", "train = data/train.txt")
    text(folder / "train.txt", *(f"data/obj_train_data/{i} a.png" for i in range(6)))
    return "YOLO txt"


def yolo_of_label_studio(folder: Path) -> str:
    for i in range(6):
        write_picture(folder / "images" / f"{i}.png")
        text(folder / "labels" / f"{i}.txt", LINE)
    text(folder / "notes.json", json.dumps({"categories": [{"id": 0, "name": "red"}], "info": {}}))
    return "YOLO txt"


def yolo_bare(folder: Path) -> str:
    for i in range(6):
        write_picture(folder / f"{i}.png")
        text(folder / f"{i}.txt", LINE)
    return "YOLO txt"


UNDIVIDED = [
    coco_whole,
    coco_of_cvat,
    coco_of_label_studio,
    voc_of_cvat,
    yolo_of_cvat,
    yolo_of_label_studio,
    yolo_bare,
]


@pytest.mark.parametrize("make", UNDIVIDED)
def test_a_folder_is_recognised_and_divided(tmp_path: Path, make: Callable[[Path], str]) -> None:
    folder = tmp_path / "my data"
    form = make(folder)
    before = sorted(path for path in folder.rglob("*"))
    said, output = begin(folder)
    assert f"{folder}: {form}, " in said and "divided with seed 0" in said
    train, val = parts(output, "my_data")
    assert train and val and not {*train} & {*val}
    assert sorted(path for path in folder.rglob("*")) == before
    sheet = cv2.imdecode(np.fromfile(output / "my_data_sheet.jpg", np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape[2] == 3 and sheet.std() > 10


def test_parts_that_are_there_stay(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("valid", 2), ("test", 1)):
        for i in range(count):
            write_picture(tmp_path / "d" / part / f"{part}{i}.png")
            write_xml(tmp_path / "d" / part / f"{part}{i}.xml", [("red", [1, 2, 30, 40])])
    said, output = begin(tmp_path / "d")
    assert "divided" not in said
    assert parts(output, "d") == ([f"train{i}.png" for i in range(4)], ["valid0.png", "valid1.png"])


def test_lists_of_image_sets_and_data_yaml_are_used(tmp_path: Path) -> None:
    voc, yolo = tmp_path / "voc", tmp_path / "yolo"
    for i in range(4):
        write_picture(voc / "JPEGImages" / f"{i}.png")
        write_xml(voc / "Annotations" / f"{i}.xml", [("red", [1, 2, 30, 40])])
        write_picture(yolo / "images" / "abcd"[i] / f"{i}.png")
        text(yolo / "labels" / "abcd"[i] / f"{i}.txt", LINE)
    text(voc / "ImageSets" / "Main" / "trainval.txt", "0", "1", "2")
    text(voc / "ImageSets" / "Main" / "train.txt", "0")
    text(voc / "ImageSets" / "Main" / "test.txt", "3")
    text(yolo / "data.yaml", "train: [images/a, images/b]", "test: images/c", "names: [red]")
    _, output = begin(voc)
    assert parts(output, "voc") == (["0.png", "1.png", "2.png"], ["3.png"])
    said, output = begin(yolo)
    assert "YOLO txt with data.yaml" in said
    assert parts(output, "yolo") == (["0.png", "1.png"], ["2.png"])


def test_what_is_faulty_is_counted_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for i in range(8):
        write_picture(folder / f"{i}.png")
        write_xml(folder / f"{i}.xml", [("red", [1, 2, 30, 40]), *([("red", [9, 9, 9, 9])] if i == 1 else [])])
    (folder / "7.png").unlink()
    write_picture(folder / "extra.png")
    text(folder / "6.xml", "<annotation>")
    said, _ = begin(folder)
    assert "1 images have no xml file and are left out" in said
    assert "1 images or annotations are missing: 7.jpg" in said
    assert "1 annotations cannot be read: 6.xml" in said
    assert "1 boxes without area, left out: 1.png" in said


def test_the_division_depends_on_the_seed_and_has_every_class_on_both_sides(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    for i in range(30):
        write_picture(folder / f"{i}.png", 8, 8)
        text(folder / f"{i}.txt", "1 0.5 0.5 0.5 0.5" if i in (3, 17) else LINE)
    chosen = []
    for seed in (0, 0, 1):
        _, output = begin(folder, seed=seed, overwrite=True)
        chosen.append(parts(output, "d")[1])
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(len({"3.png", "17.png"} & {*images}) == 1 for images in chosen)
    assert len(choose(build_dataset(load_config(output / "d_data.yml"), "TrainDataset"), seed=0)) == 5


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    yolo_bare(tmp_path / "d")
    _, output = begin(tmp_path / "d")
    text(output / "d_teacher.yml", "mine: 1")
    with pytest.raises(ConfigError, match=r"d_data\.yml exists already; --overwrite replaces it, --output names"):
        begin(tmp_path / "d")
    assert (output / "d_teacher.yml").read_text() == "mine: 1\n"
    begin(tmp_path / "d", overwrite=True)
    assert "_BASE_" in (output / "d_teacher.yml").read_text()


def test_what_was_written_before_is_no_part_of_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the folder of the images itself, which is named in two ways."""
    yolo_bare(tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    for folder in (Path(), tmp_path / "d"):
        said = "\n".join(init(folder, None, gpu=False, overwrite=True))
        train, val = parts(Path("ppkd_d"), "d")
        assert sorted(train + val) == [f"{i}.png" for i in range(6)] and "ppkd_d/d_sheet.jpg" in said


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "hello", r"1 images, but no annotations that are COCO json, Pascal VOC xml, or YOLO txt"),
        ("a.xml", "<annotations/>", r"a\.xml is CVAT's own form: export the task as COCO 1\.0"),
        ("a.json", '[{"annotations": []}]', r"a\.json is Label Studio's own form: export the project as COCO"),
        ("a.json", '{"shapes": []}', r"`ppkd to-coco --dataset_type labelme` writes COCO json of it"),
    ],
)
def test_what_is_not_read_is_answered(tmp_path: Path, name: str, content: str, message: str) -> None:
    write_picture(tmp_path / "d" / "a.png")
    text(tmp_path / "d" / name, content)
    with pytest.raises(DataError, match=message):
        begin(tmp_path / "d")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_none_is_answered(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; expected a folder of images with annotations"):
        begin(tmp_path / "nowhere")
    with pytest.raises(DataError, match="a file: unpack it and name the folder"):
        begin(text(tmp_path / "data.zip", "PK"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no image in it"):
        begin(tmp_path / "empty")


@pytest.mark.parametrize(("detector", "gpu"), [("gfl", False), ("gfl", True), ("yolov3", False), ("yolov3", True)])
def test_the_configurations_are_whole(tmp_path: Path, detector: str, gpu: bool) -> None:
    folder = tmp_path / "d"
    for i in range(12):
        write_picture(folder / f"{i}.png")
        text(folder / f"{i}.txt", f"0 0.5 0.5 {0.2 + i / 40} {0.3 + i / 30}")
    _, output = begin(folder, detector=detector, gpu=gpu)
    student, teacher = (load_config(output / f"d_{part}.yml") for part in ("student", "teacher"))
    slim = load_config(output / "d_distil.yml")
    Experiment.parse(teacher).check()
    experiment = Experiment.parse(student, slim.without("teacher").with_item("teacher", {}, slim.mark("teacher")))
    assert str(experiment.folder / "best_model") == student["weights"]
    assert slim["teacher"] == str(Experiment.parse(teacher).folder)
    assert student["TrainReader"]["batch_size"] == experiment.learning_rate.base_batch_size


def test_small_objects_get_a_larger_input_and_few_images_more_epochs(tmp_path: Path) -> None:
    plans = []
    for side in (0.5, 0.04):
        folder = tmp_path / str(side)
        for i in range(12):
            write_picture(folder / f"{i}.png", 256, 256)
            text(folder / f"{i}.txt", f"0 0.5 0.5 {side} {side}")
        _, output = begin(folder, overwrite=True)
        training = build_dataset(load_config(output / f"{folder.name}_data.yml"), "TrainDataset")
        plans.append(suggest(training, detector="gfl", gpu=False, cores=2))
    assert [plan.size for plan in plans] == [128, 192]
    assert [plan.batch for plan in plans] == [5, 5] and plans[0].epochs == (300, 300)


def test_names_of_parts() -> None:
    assert [part_of(name) for name in ("instances_train2017", "valid/images", "TEST", "trained", "train_val")] == [
        "train",
        "val",
        "test",
        None,
        None,
    ]


@pytest.mark.slow
def test_the_printed_commands_run_without_options(tmp_path: Path, root: Path) -> None:
    for i in range(8):
        write_picture(tmp_path / "мои данные" / f"{i} 一.png", seed=i)
        text(tmp_path / "мои данные" / f"{i} 一.txt", LINE)
    code, said = call(root / "ppkd" / "__main__.py", "init", "мои данные", folder=tmp_path)
    assert code == 0, said
    written = tmp_path / "ppkd_мои_данные"
    for part in ("teacher", "student"):
        with (written / f"мои_данные_{part}.yml").open("a", encoding="utf-8") as file:
            file.write("\nworker_num: 0\n")
        shortened = (written / f"мои_данные_{part}.yml").read_text(encoding="utf-8").replace("epoch: 300", "epoch: 1")
        (written / f"мои_данные_{part}.yml").write_text(shortened, encoding="utf-8")
    import shlex

    commands = [shlex.split(line)[3:] for line in said.splitlines() if line.startswith("  python -m ppkd")]
    assert [command[0] for command in commands] == ["train", "train", "export"]
    for command in commands:
        code, said = call(root / "ppkd" / "__main__.py", *command, folder=tmp_path)
        assert code == 0, said
    assert (tmp_path / "output_inference" / "мои_данные_student" / "model.pdiparams").is_file()

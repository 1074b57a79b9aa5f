"""Special files, csv files and exported folders: a value or a one-line error, never a wait or another exception."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mutations import NAMES, altered, damaged, fewer

from ppkd.data.datasets import ImageFolder
from ppkd.data.image import EXTENSIONS, read_image
from ppkd.deploy.infer_cfg import FILE_NAME, InferConfig
from ppkd.deploy.preprocess import Preprocess
from ppkd.report.curves import plot_curves, read_results
from ppkd.utils.errors import DataError, PPKDError, WeightsError
from ppkd.utils.files import check_outputs

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")

CSV = b"epoch,step,learning_rate,batch_cost,loss,AP\n0,10,0.1,0.25,9.5,\n1,20,0.05,0.25,4.25,0.125\n"
EXPORT = {
    "mode": "paddle",
    "draw_threshold": 0.5,
    "metric": "COCO",
    "use_dynamic_shape": False,
    "arch": "YOLO",
    "min_subgraph_size": 3,
    "Preprocess": [
        {"type": "Resize", "interp": 2, "keep_ratio": False, "target_size": [32, 48]},
        {"type": "NormalizeImage", "is_scale": True, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
        {"type": "Permute"},
        {"type": "PadStride", "stride": 32},
    ],
    "label_list": ["disc", "square"],
    "category_ids": [1, 2],
    "checksums": {"model.json": "0" * 64, "model.pdiparams": "1" * 64},
}
PICTURE = cv2.imencode(".png", np.zeros((4, 6, 3), np.uint8))[1].tobytes()


def regular(path: Path, target: Path) -> None:
    path.write_bytes(PICTURE)


def socket(path: Path, target: Path) -> None:
    os.mknod(path, 0o600 | 0o140000)


MAKERS: dict[str, Callable[[Path, Path], None]] = {
    "picture": regular,
    "empty": lambda path, target: path.touch(),
    "pipe": lambda path, target: os.mkfifo(path),
    "socket": socket,
    "folder": lambda path, target: path.mkdir(),
    "link to itself": lambda path, target: path.symlink_to(path),
    "link to another": lambda path, target: path.symlink_to(target),
    "link to the folder": lambda path, target: path.symlink_to(path.parent),
    "link to the root": lambda path, target: path.symlink_to("/"),
    "link to a device": lambda path, target: path.symlink_to("/dev/zero"),
    "link to nothing": lambda path, target: path.symlink_to("nothing"),
    "sparse": lambda path, target: os.truncate(_touched(path), 1 << 40),
}
PLACES = st.sampled_from(["a.png", "b.JPG", "c.jpeg", "d", "d/e.png", "d/f", "d/f/g.bmp", "h.txt", "i.png"])


def _touched(path: Path) -> Path:
    path.touch()
    return path


@given(tree=st.lists(st.tuples(PLACES, st.sampled_from(sorted(MAKERS)), PLACES), max_size=8))
def test_folders_of_special_files_and_links(tree: list[tuple[str, str, str]], scratch: Path) -> None:
    folder = scratch / "tree"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for place, kind, target in tree:
        path = folder / place
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            MAKERS[kind](path, folder / target)
        except OSError:  # something else stands there
            continue
    try:
        found = [annotation.file for annotation in ImageFolder(image_dir=str(folder), label_list=["a"])]
    except DataError as error:
        assert str(folder) in str(error)
        return
    inside = [path for path in folder.rglob("*") if path.name.lower().endswith(EXTENSIONS) and path.is_file()]
    assert set(found) <= set(inside) and len(found) == len(set(found))
    for file in found:
        try:
            assert read_image(file).dtype == np.uint8
        except DataError as error:
            assert file.name in str(error)
        with pytest.raises(DataError):
            check_outputs([file], found)


def results_or_refusal(folder: Path, content: bytes) -> None:
    path = folder / "results.csv"
    path.write_bytes(content)
    try:
        columns = read_results(path)
    except DataError as error:
        assert "results.csv" in str(error)
        return
    assert len({len(numbers) for numbers in columns.values()}) <= 1
    assert all(isinstance(number, float) for numbers in columns.values() for number in numbers)


@given(content=st.sampled_from([CSV, b"\xef\xbb\xbf" + CSV, CSV.replace(b",", b";")]).flatmap(damaged) | st.binary())
def test_damaged_results(content: bytes, scratch: Path) -> None:
    results_or_refusal(scratch, content)


@given(rows=st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=4))
def test_senseless_results(rows: list[list[str]], scratch: Path) -> None:
    text = "\n".join(",".join(row) for row in [["epoch", *(rows or [[]])[0]], *rows])
    results_or_refusal(scratch, text.encode(errors="surrogatepass"))


@fewer
@given(labels=st.lists(NAMES, min_size=1, max_size=3, unique=True))
def test_labels_of_runs_are_drawn(labels: list[str], scratch: Path) -> None:
    (scratch / "good.csv").write_bytes(CSV)
    assert plot_curves(dict.fromkeys(labels, scratch / "good.csv"), scratch / "x.png", columns=["AP"]).is_file()


def runs_or_is_refused(path: Path) -> None:
    try:
        config = InferConfig.read(path)
        preprocess = Preprocess(config, str(path))
        prepared = preprocess(np.zeros((8, 12, 3), np.uint8))
        assert preprocess.collate([prepared.sample])["image"].dtype == np.float32
        config.check_files([path])
    except WeightsError as error:
        assert "another than infer_cfg.yml states" in str(error)
    except PPKDError as error:
        assert str(path) in str(error)


@given(content=damaged(yaml.safe_dump(EXPORT).encode()))
def test_damaged_exports(content: bytes, scratch: Path) -> None:
    (scratch / FILE_NAME).write_bytes(content)
    runs_or_is_refused(scratch / FILE_NAME)


@given(content=altered(EXPORT))
def test_senseless_exports(content: Any, scratch: Path) -> None:
    text = yaml.safe_dump(content)
    (scratch / FILE_NAME).write_text(text, encoding="utf-8", errors="surrogatepass")
    runs_or_is_refused(scratch / FILE_NAME)

"""Lists for a VOC folder: shuffled by seed, complete, and never overwritten unasked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from reader_cases import write_picture, write_xml

from ppkd.data.datasets import VOCDataSet
from ppkd.data.split import parse_ratio, split_voc
from ppkd.utils.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(20):
        write_picture(tmp_path / "JPEGImages" / f"{i:02d}.png")
        write_xml(tmp_path / "Annotations" / f"{i:02d}.xml", [("red" if i % 2 else "green", [1, 2, 30, 40])])
    return tmp_path


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_every_pair_is_in_exactly_one_list(folder: Path) -> None:
    split = split_voc(folder, share=0.8)
    train, test = lines(folder / "trainval.txt"), lines(folder / "test.txt")
    assert (split.trainval, split.test, len(train), len(test)) == (16, 4, 16, 4)
    assert sorted(train + test) == [f"JPEGImages/{i:02d}.png Annotations/{i:02d}.xml" for i in range(20)]
    assert train != sorted(train)
    assert lines(folder / "label_list.txt") == ["green", "red"]
    loaded = VOCDataSet(dataset_dir=str(folder), anno_path="trainval.txt", label_list="label_list.txt")
    assert len(loaded) == 16


def test_the_seed_decides(folder: Path) -> None:
    orders = []
    for seed in (0, 0, 1):
        split_voc(folder, seed=seed, force=True)
        orders.append(lines(folder / "trainval.txt"))
    assert orders[0] == orders[1] != orders[2]


def test_missing_halves_and_damaged_files_are_named(folder: Path) -> None:
    (folder / "JPEGImages" / "03.png").unlink()
    (folder / "Annotations" / "05.xml").unlink()
    (folder / "Annotations" / "07.xml").write_text("<annotation>")
    split = split_voc(folder)
    assert (split.without_image, split.without_xml, split.broken) == (("03.xml",), ("05.png",), ("07.xml",))
    assert split.trainval + split.test == 17
    assert "05.png has no xml file" in str(split)


def test_lists_are_not_overwritten_unasked(folder: Path) -> None:
    split_voc(folder)
    before = (folder / "trainval.txt").read_bytes()
    with pytest.raises(DataError, match=r"trainval\.txt exists already; --force"):
        split_voc(folder, seed=9)
    assert (folder / "trainval.txt").read_bytes() == before


def test_an_existing_label_list_keeps_its_order(folder: Path) -> None:
    (folder / "label_list.txt").write_text("red\nblue\ngreen\n")
    assert split_voc(folder).classes == ("red", "blue", "green")
    (folder / "label_list.txt").write_text("red\n")
    with pytest.raises(DataError, match="lacks the class 'green'"):
        split_voc(folder, force=True)


@pytest.mark.parametrize(("text", "share"), [("9:1", 0.9), ("0.75", 0.75), ("1:3", 0.25)])
def test_ratios(text: str, share: float) -> None:
    assert parse_ratio(text) == pytest.approx(share)


@pytest.mark.parametrize("text", ["9", "0", "a:b", "1:0", "8:1:1", ""])
def test_wrong_ratios_are_refused(text: str) -> None:
    with pytest.raises(DataError, match="ratio"):
        parse_ratio(text)


def test_the_command_line(folder: Path, root: Path) -> None:
    command = [sys.executable, str(root / "tools" / "split_voc.py"), str(folder), "--ratio", "1:1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "trainval.txt: 10 images, test.txt: 10 images" in done.stdout
    again = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert again.returncode == 1
    assert again.stderr.startswith("error: ")

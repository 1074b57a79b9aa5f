"""Curves: what a results.csv holds is what is plotted."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import pytest

from ppkd.report.curves import plot_curves, read_results
from ppkd.utils.errors import DataError


@pytest.fixture
def results(tmp_path: Path) -> Path:
    path = tmp_path / "results.csv"
    path.write_text("epoch,loss,AP\n0,9.5,\n1,4.25,0.125\n")
    return path


def test_columns_and_epochs_without_evaluation(results: Path) -> None:
    columns = read_results(results)
    assert columns["loss"] == [9.5, 4.25]
    assert math.isnan(columns["AP"][0])
    assert columns["AP"][1] == 0.125


def test_plot_is_written_and_shows_each_run(results: Path, tmp_path: Path) -> None:
    one = cv2.imread(str(plot_curves({"student": results}, tmp_path / "new" / "one.png")))
    lower = tmp_path / "lower.csv"
    lower.write_text("epoch,loss\n0,5\n1,2\n")
    two = cv2.imread(str(plot_curves({"student": results, "distilled": lower}, tmp_path / "two.png")))
    assert one.shape == two.shape
    assert (one != two).any()


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "no finished epoch"), ("epoch,loss\n", "no finished"), ("epoch,loss\n0,high\n", ":2: .*'high'")],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        read_results(path)


def test_a_byte_order_mark_and_spaces_change_nothing(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    path.write_bytes("\ufeffepoch, loss ,AP\r\n0, 9.5,\r\n1,4.25,0.125\r\n".encode())
    assert str(read_results(path)) == str(read_results(results))
    assert plot_curves({"$a$": path, "_b": path}, tmp_path / "x.png", columns=["loss"]).is_file()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"epoch;loss\n0;1.5\n", "its heading is 'epoch;loss', without 'epoch' once"),
        (b"epoch\tloss\n0\t1.5\n", "without 'epoch' once"),
        (b"epoch,loss,loss\n0,1,2\n", "without 'epoch' once"),
        (b"epoch,loss\n0,1,2\n", ":2: more cells than the heading"),
        (b"\x89PNG\r\n\x1a\n\x00\xff", "not a readable csv file"),
        (b"epoch,loss\n0,\x00\n", "expected a number|not a readable csv"),
        ("epoch,loss\n".encode("utf-16"), "not a readable csv file"),
        (b'epoch,loss\n0,"' + b"1" * 200_000, "not a readable csv file"),
    ],
)
def test_what_is_no_csv_file_of_a_run_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"results\.csv.*({says})"):
        read_results(path)


def test_missing_file_and_missing_column(results: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv"):
        read_results(tmp_path / "none.csv")
    with pytest.raises(DataError, match="mAP"):
        plot_curves({"student": results}, tmp_path / "x.png", columns=["mAP"])

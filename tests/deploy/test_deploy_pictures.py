"""Which pictures a command takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppkd.deploy.pictures import find_pictures
from ppkd.utils.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.PNG", "a.jpg", "notes.txt", "deeper/a.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    return tmp_path


def test_a_file_wins_over_a_folder(folder: Path) -> None:
    assert find_pictures("x.jpg", str(folder)) == [Path("x.jpg")]


def test_a_folder_without_what_lies_deeper(folder: Path) -> None:
    assert find_pictures(folder=str(folder)) == [folder / "a.jpg", folder / "b.PNG"]


def test_a_list_below_the_folder_or_its_own(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    listing = tmp_path_factory.mktemp("lists") / "list.txt"
    listing.write_text("deeper/a.jpg\n\nb.PNG\n")
    assert find_pictures(folder=str(folder), listing=str(listing)) == [folder / "deeper/a.jpg", folder / "b.PNG"]
    assert find_pictures(listing=str(listing))[1] == listing.parent / "b.PNG"


def test_equal_base_names_would_overwrite_each_other(folder: Path) -> None:
    listing = folder / "list.txt"
    listing.write_text("a.jpg\ndeeper/a.jpg\n")
    with pytest.raises(DataError, match="same base name"):
        find_pictures(listing=str(listing))


@pytest.mark.parametrize(
    ("given", "says"),
    [({}, "no pictures given"), ({"folder": "nowhere"}, "nowhere: no such"), ({"listing": "none.txt"}, r"none\.txt")],
)
def test_what_is_not_there(given: dict[str, str], says: str) -> None:
    with pytest.raises(DataError, match=says):
        find_pictures(**given)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in it"):
        find_pictures(folder=str(tmp_path))

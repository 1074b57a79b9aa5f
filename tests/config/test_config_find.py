"""Configurations by name: which file a name means, and what a wrong one says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppkd.config import Config, find_config, load_config
from ppkd.config.value import Mark
from ppkd.distill.slim import resolve
from ppkd.utils.errors import ConfigError
from ppkd.utils.shipped import shipped

NAME = "retinanet_r50_fpn_1x_coco"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "spelling", [NAME, f"{NAME}.yml", f"retinanet/{NAME}", f"configs/retinanet/{NAME}.yml", Path(f"./{NAME}")]
)
def test_a_name_means_the_shipped_file_from_any_folder(root: Path, spelling: str | Path) -> None:
    assert find_config(spelling) == str(root / "configs/retinanet" / f"{NAME}.yml")
    config = load_config(spelling)
    assert (config.name, config["architecture"]) == (NAME, "RetinaNet")


def test_slim_files_have_names_too(root: Path) -> None:
    assert find_config("fgd") == str(root / "slim/distill/fgd.yml")


def test_every_shipped_configuration_is_found_by_its_name(root: Path) -> None:
    whole = [path for path in shipped() if "_base_" not in path.parts]
    assert len(whole) > 100
    assert [path for path in whole if find_config(path.stem) != str(path)] == []


def test_a_file_that_exists_wins_over_a_name(tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.yml").write_text("a: 1\n")
    assert find_config(NAME) == f"{NAME}.yml"
    assert load_config(NAME).to_dict() == {"a": 1}
    (tmp_path / NAME).write_text("a: 2\n")
    assert load_config(NAME).to_dict() == {"a": 2}


def test_a_folder_of_that_name_does_not(root: Path, tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    assert find_config(NAME) == str(root / "configs/retinanet" / f"{NAME}.yml")


def test_folders_are_tried_in_their_order(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.yml").write_text("{}")
    assert find_config("x", folders=[Path("none"), Path("b"), Path("a")]) == "b/x.yml"


def test_an_unknown_name_gives_the_nearest_ones() -> None:
    with pytest.raises(ConfigError, match=r"^the configuration retina_r50_1x does not exist; did you mean retinanet_r"):
        load_config("retina_r50_1x")
    with pytest.raises(ConfigError, match=r"^a\.yml:3: the other retinanet/qqqqq\.yml does not exist$"):
        find_config("retinanet/qqqqq.yml", asker=Mark("a.yml", 3), noun="the other")


def test_a_name_of_several_files_is_told_with_their_folders() -> None:
    folders = "configs/bccd/_base_/gfl_160.yml, configs/shapes/_base_/gfl_160.yml"
    with pytest.raises(ConfigError, match=f"gfl_160 could be any of {folders}: write a folder before the name"):
        find_config("gfl_160")
    assert find_config("shapes/_base_/gfl_160").endswith("configs/shapes/_base_/gfl_160.yml")


def test_a_users_file_may_build_on_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text(f"_BASE_: {NAME}\nepoch: 3\n")
    config = load_config("mine")
    assert (config["epoch"], config["architecture"]) == (3, "RetinaNet")
    assert config.where("architecture").endswith("configs/retinanet/_base_/retinanet.yml:2")


def test_the_teachers_configuration_is_found_by_its_name(root: Path) -> None:
    slim = load_config("fgd")
    assert resolve(NAME, slim) == str(root / "configs/retinanet" / f"{NAME}.yml")
    with pytest.raises(ConfigError, match=r"fgd\.yml:\d+: the teacher's configuration nobody does not exist"):
        resolve("nobody", slim)


@pytest.mark.parametrize("name", ["x" * 5000, "a\0b", "..", "~nobody/x"])
def test_no_name_ends_in_another_error(name: str) -> None:
    with pytest.raises(ConfigError):
        load_config(name)


def test_a_pipe_of_the_shell_is_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"a: 1\n")
    os.close(writer)
    assert isinstance(load_config(f"/dev/fd/{reader}"), Config)
    os.close(reader)

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

from ppkd.config import Config, load_config, split_overrides
from ppkd.config.value import freeze
from ppkd.utils.errors import ConfigError


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    return folder


def test_the_file_wins_over_its_bases_and_later_bases_over_earlier(tmp_path: Path) -> None:
    write(
        tmp_path,
        one="A: {x: 1, y: 1, z: 1}\nlist: [1, 2, 3]\n",
        two="A: {y: 2, z: 2}\n",
        top="_BASE_: [one.yml, two.yml]\nA:\n  z: 3\nlist: [9]\n",
    )
    config = load_config(tmp_path / "top.yml")
    assert config.to_dict() == {"A": {"x": 1, "y": 2, "z": 3}, "list": [9]}
    assert config.where("A.x") == f"{tmp_path}/one.yml:1"
    assert config.where("A.z") == f"{tmp_path}/top.yml:3"
    assert config.where("A.nothing") == f"{tmp_path}/top.yml:2"
    assert config.where() == f"{tmp_path}/top.yml:1"
    assert "_BASE_" not in config


def test_bases_are_relative_to_the_file_that_names_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "_base_").mkdir(parents=True)
    write(tmp_path, root="a: 1\n")
    write(tmp_path / "deep" / "_base_", mid="_BASE_: ../../root.yml\nb: 2\n")
    write(tmp_path / "deep", top="_BASE_: _base_/mid.yml\nc: 3\n")
    monkeypatch.chdir(tmp_path)
    config = load_config("deep/top.yml")
    assert config.to_dict() == {"a": 1, "b": 2, "c": 3}
    assert (config.where("a"), config.where("b")) == ("root.yml:1", "deep/_base_/mid.yml:2")
    assert (config.path, config.name) == ("deep/top.yml", "top")


def test_a_diamond_of_bases_is_no_cycle(tmp_path: Path) -> None:
    write(tmp_path, root="a: 1\n", l="_BASE_: root.yml\n", r="_BASE_: root.yml\n", top="_BASE_: [l.yml, r.yml]\n")
    assert load_config(tmp_path / "top.yml").to_dict() == {"a": 1}


def test_a_tagged_mapping_replaces_and_a_plain_one_merges(tmp_path: Path) -> None:
    write(
        tmp_path,
        base="T: !COCODataSet {anno_path: a.json, image_dir: i}\nE: !COCODataSet {anno_path: a.json}\n",
        top="_BASE_: base.yml\nT: !VOCDataSet {anno_path: b.txt}\nE: {dataset_dir: d}\n",
    )
    assert load_config(tmp_path / "top.yml").to_dict() == {
        "T": {"name": "VOCDataSet", "anno_path": "b.txt"},
        "E": {"name": "COCODataSet", "anno_path": "a.json", "dataset_dir": "d"},
    }


def test_a_cycle_names_both_files(tmp_path: Path) -> None:
    write(tmp_path, a="x: 1\n_BASE_: b.yml\n", b="_BASE_: a.yml\n")
    with pytest.raises(ConfigError, match=r"b\.yml:1: _BASE_ leads back to .*a\.yml"):
        load_config(tmp_path / "a.yml")


def test_a_missing_base_names_both_files(tmp_path: Path) -> None:
    write(tmp_path, a="x: 1\n_BASE_: [gone.yml]\n")
    with pytest.raises(ConfigError, match=r"a\.yml:2: the _BASE_ file .*gone\.yml does not exist"):
        load_config(tmp_path / "a.yml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1\n", "must be a mapping"),
        (b"\xff\xfe\x00", "not a text file"),
        (b"_BASE_: 3\n", "file name or a list of file names"),
        (b"_BASE_: {a: 1}\n", "file name or a list of file names"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.yml").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"a\.yml.*{message}"):
        load_config(tmp_path / "a.yml")


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yml does not exist"):
        load_config(tmp_path / "nowhere.yml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path)


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    write(tmp_path, a="# nothing\n")
    assert dict(load_config(tmp_path / "a.yml")) == {}


def test_overrides_are_yaml_and_win(tmp_path: Path) -> None:
    write(tmp_path, a="A: {x: 1, y: 2}\nL: [{Resize: {size: 1}}, 2]\nT: !D {p: 1}\nN: null\n")
    config = load_config(
        tmp_path / "a.yml",
        ["A.x=5e-6", "A.new.deep=[1, 2]", "L.0.Resize.size=3", "T.p=2", "N.k=v", "u=http://h/?a=b", "w=", "A.y={z: 1}"],
    )
    assert config.to_dict() == {
        "A": {"x": 5e-6, "y": {"z": 1}, "new": {"deep": [1, 2]}},
        "L": [{"Resize": {"size": 3}}, 2],
        "T": {"name": "D", "p": 2},
        "N": {"k": "v"},
        "u": "http://h/?a=b",
        "w": None,
    }
    assert [config.where(key) for key in ("A.x", "A.new.deep", "L.0.Resize.size", "u")] == ["-o"] * 4
    assert config.where("A") == f"{tmp_path}/a.yml:1"


@pytest.mark.parametrize("text", ["epoch", "=3", "a..b=1", ".=1", "s.deeper=1", "L.7=1", "L.x=1", "a=[1", "a=!!x y"])
def test_wrong_overrides_are_errors_of_the_override(tmp_path: Path, text: str) -> None:
    write(tmp_path, a="s: text\nL: [1]\n")
    with pytest.raises(ConfigError, match=r"^-o: "):
        load_config(tmp_path / "a.yml", [text])


def test_overrides_are_split_by_the_slim_prefix() -> None:
    assert split_overrides(["epoch=1", "slim.teacher.weights=x", "slimmer=2"]) == (
        ["epoch=1", "slimmer=2"],
        ["teacher.weights=x"],
    )


def test_filename_names_the_run(tmp_path: Path) -> None:
    write(tmp_path, a_x0="b: 1\n")
    assert load_config(tmp_path / "a_x0.yml").name == "a_x0"
    assert load_config(tmp_path / "a_x0.yml", ["filename=other"]).name == "other"


def test_a_config_cannot_be_changed(tmp_path: Path) -> None:
    write(tmp_path, a="A: {x: 1}\nL: [1]\n")
    config = load_config(tmp_path / "a.yml")
    with pytest.raises(TypeError):
        config["A"] = 2  # type: ignore[index]
    with pytest.raises(AttributeError):
        config.path = "other"  # type: ignore[misc]
    assert isinstance(config["L"], tuple)
    plain = config.to_dict()
    plain["A"]["x"] = 99
    assert config["A"]["x"] == 1


def test_loading_twice_leaves_no_residue(tmp_path: Path) -> None:
    write(tmp_path, base="A: {x: 1}\n", a="_BASE_: base.yml\nb: 1\n", other="A: {x: 7, z: 8}\nb: 2\n")
    first = load_config(tmp_path / "a.yml")
    kept = first.to_dict()
    load_config(tmp_path / "a.yml", ["A.x=5", "A.q=6"])
    load_config(tmp_path / "other.yml")
    assert first.to_dict() == kept
    assert load_config(tmp_path / "a.yml") == first


def test_at_reaches_through_mappings_and_lists(tmp_path: Path) -> None:
    write(tmp_path, a="A: {L: [{x: 1}], n: null}\n")
    config = load_config(tmp_path / "a.yml")
    assert config.at("A.L.0.x") == 1
    assert config.at("A.n", 3) is None
    assert config.at("A.L.1.x", "default") == "default"
    with pytest.raises(ConfigError, match=r"a\.yml:1: needs the key 'A\.m'"):
        config.at("A.m")
    with pytest.raises(KeyError):
        config["B"]


def test_configs_survive_copies_and_worker_processes(tmp_path: Path) -> None:
    write(tmp_path, a="A: {x: [1, {y: 2}]}\n")
    config = load_config(tmp_path / "a.yml")
    for twin in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert isinstance(twin, Config)
        assert twin == config
        assert twin.where("A.x") == config.where("A.x")


def test_freezing_keeps_the_marks_of_what_is_frozen_already(tmp_path: Path) -> None:
    write(tmp_path, a="A: {x: 1}\n")
    block = load_config(tmp_path / "a.yml")["A"]
    frozen = freeze({"name": "N", "part": block, "list": [1, [2]]})
    assert frozen.where("part.x") == f"{tmp_path}/a.yml:1"
    assert frozen["list"] == (1, (2,))

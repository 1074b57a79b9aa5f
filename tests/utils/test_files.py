"""Special files, links and sizes: an error at once, never a wait."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ppkd.utils import files
from ppkd.utils.errors import DataError, nearest
from ppkd.utils.serialization import digest, read_metadata, read_pickle, read_weights

READERS = {
    "bytes": "from ppkd.utils.files import read_bytes; read_bytes({path!r}, 10)",
    "text": "from ppkd.utils.files import read_text; read_text({path!r})",
    "json": "from ppkd.utils.files import read_json; read_json({path!r})",
    "image": "from ppkd.data.image import read_image; read_image({path!r})",
    "annotations": "from ppkd.data.datasets.coco import read_annotations; read_annotations({path!r})",
    "xml": "from ppkd.data.datasets.voc import parse_xml; parse_xml({path!r})",
    "labels": "from ppkd.data.datasets.dataset import read_labels; read_labels({path!r})",
    "pickle": "from ppkd.utils.serialization import read_pickle; read_pickle({path!r})",
    "metadata": "from ppkd.utils.serialization import read_metadata; read_metadata({path!r})",
    "results": "from ppkd.report.curves import read_results; read_results({path!r})",
    "config": "from ppkd.config import load_config; load_config({path!r})",
}


def test_nothing_waits_for_a_pipe_or_reads_an_endless_device(tmp_path: Path, root: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yml")
    (tmp_path / "zero.yml").symlink_to("/dev/zero")
    code = "from ppkd.utils.errors import PPKDError\n"
    for name, kind in (("pipe.yml", "a named pipe"), ("zero.yml", "a device")):
        for reader, call in READERS.items():
            code += (
                f"try:\n    {call.format(path=str(tmp_path / name))}\n    print({reader!r}, 'was read')\n"
                f"except (PPKDError, OSError, ValueError) as error:\n"
                f"    assert 'it is {kind}, not a regular file' in str(error), ({reader!r}, str(error))\n"
            )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_larger_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "sparse.json").open("wb") as file:
        file.truncate(1 << 42)
    with pytest.raises(OSError, match="4398046511104 bytes, more than the 17179869184"):
        files.read_json(tmp_path / "sparse.json")
    with pytest.raises(OSError, match=r"has 4398046511104 bytes|memory holds"):
        files.read_bytes(tmp_path / "sparse.json", 1 << 43)


@pytest.mark.parametrize("read", [read_pickle, read_metadata, read_weights, digest])
def test_a_folder_and_an_impossible_name_are_no_files(tmp_path: Path, read: object) -> None:
    (tmp_path / "m.safetensors").mkdir()
    for name in ("m.safetensors", "a\0b.safetensors"):
        with pytest.raises(Exception, match=r"is a folder|no file can have this name|no such weights|null byte"):
            read(tmp_path / name)


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"a":' * 200_000, b"[1", b"\xff\xfe\xfa", b""])
def test_json_that_nests_too_deeply_is_a_value_error_like_any_other(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"nests too deeply|Expecting|codec"):
        files.read_json(tmp_path / "a.json")


def test_only_regular_files_below_the_folder_are_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "images"
    (folder / "b" / "c").mkdir(parents=True)
    for name in ("0.JPG", "z.jpg", "b/1.jpg", "b/c/2.jpg", "b/text.txt"):
        (folder / name).touch()
    (tmp_path / "elsewhere.jpg").touch()
    (folder / "a.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    for name, target in (("b/loop", folder), ("root", "/"), ("self.jpg", folder / "self.jpg"), ("dead.jpg", "nowhere")):
        (folder / name).symlink_to(target)
    os.mkfifo(folder / "b" / "pipe.jpg")
    (folder / "device.jpg").symlink_to("/dev/zero")
    found = [path.relative_to(folder).as_posix() for path in files.files_below(folder, [".jpg"])]
    assert found == ["0.JPG", "a.jpg", "z.jpg", "b/1.jpg", "b/c/2.jpg"]
    [warning] = [record.getMessage() for record in caplog.records]
    for name in ("dead.jpg", "device.jpg", "root", "self.jpg", "b/loop"):
        assert str(folder / name) in warning
    assert "and 1 more" in warning


def test_a_walk_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MOST_ENTRIES", 3)
    for number in range(4):
        (tmp_path / f"{number}.txt").touch()
    with pytest.raises(DataError, match="more than 3 files and folders; name the folder of the images"):
        list(files.files_below(tmp_path, [".jpg"]))


def test_results_go_neither_over_an_input_nor_into_a_special_file(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").touch()
    (tmp_path / "link.jpg").symlink_to("in.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    files.check_outputs([tmp_path / "new.jpg", tmp_path / "a\0b"], [tmp_path / "in.jpg", tmp_path / "absent.jpg"])
    for name, says in (("in.jpg", "overwrite the input"), ("link.jpg", "the input .*in"), ("pipe.jpg", "a named pipe")):
        with pytest.raises(DataError, match=says):
            files.check_outputs([tmp_path / name], [tmp_path / "in.jpg"])


def test_a_near_name_is_not_sought_without_end() -> None:
    assert nearest("neckk", ["head", "neck"]) == "; did you mean 'neck'?"
    assert nearest("n" * 10**6, ["n" * 10**6]) == ""
    started = time.perf_counter()
    nearest("900000", map(str, range(10**7)))
    assert time.perf_counter() - started < 2, "all of them take over a minute"

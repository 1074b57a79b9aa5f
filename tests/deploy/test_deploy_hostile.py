"""Pictures, videos and exports made to hang, to harm or to break: one line and exit code 1, within seconds."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from ppkd.cli.deploy import command
from ppkd.deploy.infer_cfg import FILE_NAME, InferConfig
from ppkd.deploy.predictor import Predictor
from ppkd.utils.errors import ConfigError, WeightsError

SECONDS = 120
MEMORY = 4_000_000_000


def picture(path: Path) -> Path:
    assert cv2.imwrite(str(path), np.random.default_rng(3).integers(0, 256, (64, 80, 3), dtype=np.uint8))
    return path


def clip(path: Path) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for shade in (40, 90, 140):
        writer.write(np.full((64, 96, 3), shade, np.uint8))
    writer.release()
    return path


@pytest.fixture
def deploy(root: Path, exported: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """The deployed command on an export, with bounds on time and memory."""

    def run(*flags: object, model: Path = exported) -> subprocess.CompletedProcess[str]:
        script = f'ulimit -v {MEMORY // 1000 * 4}; exec "$@"'
        command = [sys.executable, "deploy/python/infer.py", "--model_dir", str(model), *map(str, flags)]
        return subprocess.run(
            ["bash", "-c", script, "bash", *command],
            cwd=root,
            text=True,
            capture_output=True,
            timeout=SECONDS,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return run


def is_refused(done: subprocess.CompletedProcess[str], *says: str) -> None:
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    *_, last = done.stderr.strip().splitlines()
    assert last.startswith("error: ")
    for text in says:
        assert text in done.stderr + done.stdout


def test_a_pipe_a_socket_a_folder_and_an_endless_device_among_pictures(deploy: Callable, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    picture(folder / "a.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    (folder / "circle.png").symlink_to(folder / "circle.png")
    (folder / "everything.png").symlink_to("/")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.png"))
        with (folder / "huge.png").open("wb") as huge:
            huge.truncate(1 << 40)
        done = deploy("--image_dir", folder, "--output_dir", tmp_path / "out")
    is_refused(
        done,
        "error: 6 of 7 pictures could not be read",
        "pipe.png: it is a named pipe, not a regular file",
        "endless.png: it is a device",
        "everything.png: it is a folder",
        "socket.png: it is a socket",
        "huge.png: it has 1099511627776 bytes, more than the 1073741824",
        "circle.png: Too many levels of symbolic links",
    )
    assert (tmp_path / "out" / "a.png").is_file()


def test_a_pipe_as_the_video_the_picture_and_the_model(deploy: Callable, exported: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "v.mp4")
    is_refused(deploy("--video_file", tmp_path / "v.mp4"), "cannot read the video", "v.mp4: it is a named pipe")
    is_refused(
        deploy("--image_file", tmp_path / "v.mp4", "--output_dir", tmp_path / "out"), "v.mp4: it is a named pipe"
    )
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / FILE_NAME)
    done = deploy("--image_file", "a.png", model=tmp_path / "model")
    is_refused(done, f"{FILE_NAME}: it is a named pipe")


@pytest.fixture
def refused(exported: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What the command says that refuses these flags, in this process."""

    def run(*flags: object) -> str:
        assert command(["--model_dir", str(exported), *map(str, flags)]) == 1
        return capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\npipe.ts\n#EXT-X-ENDLIST\n"),
        ("v.mp4", "ffconcat version 1.0\nfile 'pipe.ts'\n"),
    ],
)
def test_a_playlist_cannot_open_other_files(deploy: Callable, tmp_path: Path, name: str, content: str) -> None:
    os.mkfifo(tmp_path / "pipe.ts")
    (tmp_path / name).write_text(content)
    done = deploy("--video_file", tmp_path / name, "--output_dir", tmp_path / "out")
    is_refused(done, f"{name}: cannot read a video from it")


def test_a_result_never_overwrites_its_video(deploy: Callable, refused: Callable, tmp_path: Path) -> None:
    video = clip(tmp_path / "clip.mp4")
    before = video.read_bytes()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "clip.mp4").symlink_to(video)
    is_refused(deploy("--video_file", video, "--output_dir", tmp_path), "would overwrite the input", "clip.mp4")
    for output in (tmp_path / "other" / ".." / ".", tmp_path / "other"):
        assert f"would overwrite the input {video}" in refused("--video_file", video, "--output_dir", output)
    assert video.read_bytes() == before


def test_results_never_overwrite_pictures_nor_go_into_a_pipe(
    deploy: Callable, refused: Callable, exported: Path, tmp_path: Path
) -> None:
    one, two, out = picture(tmp_path / "one.png"), picture(tmp_path / "two.png"), tmp_path / "out"
    before = one.read_bytes()
    is_refused(deploy("--image_dir", tmp_path, "--output_dir", tmp_path), "would overwrite the input", "one.png")
    out.mkdir()
    os.link(one, out / "two.png")
    assert f"two.png: the result would overwrite the input {one}" in refused(
        "--image_dir", tmp_path, "--output_dir", out
    )
    os.mkfifo(out / "one.png")
    said = refused("--image_dir", tmp_path, "--output_dir", out)
    assert "one.png: it is a named pipe, where a result is to be written" in said
    assert one.read_bytes() == two.read_bytes() == before
    flags = ["--image_dir", str(tmp_path), "--output_dir", str(tmp_path), "--save_images", "false"]
    assert command(["--model_dir", str(exported), *flags]) == 0, "nothing is drawn, so nothing is overwritten"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "half"])
def test_a_threshold_that_is_no_finite_number_is_a_usage_error(root: Path, value: str) -> None:
    for arguments in (
        ["deploy/python/infer.py", "--model_dir", "x", f"--threshold={value}"],
        ["tools/infer.py", "-c", "x", f"--draw_threshold={value}"],
    ):
        done = subprocess.run(
            [sys.executable, *arguments], cwd=root, text=True, capture_output=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 2
        assert f"expected a finite number, not '{value}'" in done.stderr


@pytest.mark.parametrize("name", ["model.pdiparams", "model.json"])
def test_a_single_flipped_bit_of_an_export_is_refused(
    deploy: Callable, exported: Path, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(exported, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    done = deploy("--image_file", picture(tmp_path / "a.png"), "--output_dir", tmp_path / "out", model=folder)
    is_refused(done, f"{folder / name}: not the file that was exported", "export the model again")


def test_exports_without_checksums_or_with_other_names_still_run(exported: Path, tmp_path: Path) -> None:
    expected = Predictor(exported).predict([picture(tmp_path / "a.png")])[0]
    for name in ("model", "inference"):
        folder = tmp_path / name
        shutil.copytree(exported, folder)
        for suffix in (".json", ".pdiparams"):
            (folder / f"model{suffix}").rename(folder / f"{name}{suffix}")
        if name == "model":
            replace(InferConfig.read(folder / FILE_NAME), checksums={}).write(folder / FILE_NAME)
            assert "checksums" not in (folder / FILE_NAME).read_text()
        assert np.array_equal(Predictor(folder).predict([tmp_path / "a.png"])[0], expected)


def test_checksums_are_of_the_files_beside_them(exported: Path) -> None:
    import hashlib

    stated = yaml.safe_load((exported / FILE_NAME).read_text(encoding="utf-8"))["checksums"]
    assert stated == {
        name: hashlib.sha256((exported / name).read_bytes()).hexdigest() for name in ("model.pdiparams", "model.json")
    }


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("draw_threshold", "high", "'draw_threshold'"),
        ("draw_threshold", float("nan"), "'draw_threshold'"),
        ("category_ids", [1, 2], "2 category_ids for 4 names"),
        ("category_ids", ["a", 1, 2, 3], "'category_ids'"),
        ("label_list", [["a"], "b", "c", "d"], "'label_list'"),
        ("checksums", [1], "'checksums'"),
        ("min_subgraph_size", None, "'min_subgraph_size'"),
    ],
)
def test_senseless_values_of_an_export_name_their_key(
    exported: Path, tmp_path: Path, key: str, value: object, says: str
) -> None:
    content = yaml.safe_load((exported / FILE_NAME).read_text(encoding="utf-8"))
    (tmp_path / FILE_NAME).write_text(yaml.safe_dump({**content, key: value}))
    with pytest.raises(ConfigError, match=says):
        InferConfig.read(tmp_path / FILE_NAME)


def test_a_changed_file_is_named_with_the_remedy(exported: Path, tmp_path: Path) -> None:
    config = replace(InferConfig.read(exported / FILE_NAME), checksums={"model.json": "0" * 64})
    with pytest.raises(WeightsError, match=r"model\.json: not the file that was exported.*remove 'checksums'"):
        config.check_files([exported / "model.json"])

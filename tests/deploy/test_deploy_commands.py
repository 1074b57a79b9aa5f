"""The commands as users type them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from commands import call

from ppkd.cli import deploy
from ppkd.deploy.predictor import Predictor

COMMANDS = ("tools/infer.py", "tools/export_model.py", "deploy/python/infer.py")


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour, grey, 16-bit and transparent pictures, an unreadable one, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.default_rng(11)
    for name, shape, dtype in (
        ("a_colour.jpg", (120, 90, 3), np.uint8),
        ("b_grey.png", (64, 96), np.uint8),
        ("c_rgba.png", (80, 80, 4), np.uint8),
        ("d_deep.png", (50, 70, 3), np.uint16),
    ):
        cv2.imwrite(str(folder / name), rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype))
    (folder / "e_broken.jpg").write_bytes((folder / "a_colour.jpg").read_bytes()[:100])
    (folder / "notes.txt").write_text("no picture")
    return folder


READABLE = ("a_colour.jpg", "b_grey.png", "c_rgba.png", "d_deep.png")


def run(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=root, text=True, capture_output=True, env=environment
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_help_is_quick_and_needs_no_paddle(root: Path, command: str) -> None:
    start = time.perf_counter()
    done = run(root, "-X", "importtime", command, "--help")
    seconds = time.perf_counter() - start
    assert done.returncode == 0
    assert "usage:" in done.stdout
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert not imported & {"paddle", "numpy", "cv2", "matplotlib", "pydantic"}
    assert seconds < 2, "without Paddle this takes a tenth of it"


def test_pictures(exported: Path, gallery: Path, tmp_path: Path, root: Path) -> None:
    done = run(
        root, "deploy/python/infer.py", "--model_dir", exported, "--image_dir", gallery, "--output_dir", tmp_path,
        "--batch_size", 2, "--device", "cpu", "--save_results", "--threshold", 0.2,
    )  # fmt: skip
    assert done.returncode == 1, "a picture could not be read"
    assert "Traceback" not in done.stderr
    assert "error: 1 of 5 pictures could not be read" in done.stderr
    assert "e_broken.jpg" in done.stderr
    for line in ("Test iter 0", "Test iter 1", f"save result to: {tmp_path / 'a_colour.jpg'}", "Inference Time Info"):
        assert line in done.stdout
    assert "img_num: 4" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*READABLE, "bbox.json"])
    rows = json.loads((tmp_path / "bbox.json").read_text(encoding="utf-8"))
    expected = Predictor(exported).predict([gallery / name for name in READABLE], batch_size=2)
    assert len(rows) == sum(map(len, expected))
    first, best = rows[0], expected[0][0]
    assert (first["file_name"], first["image_id"]) == ("a_colour.jpg", 0)
    assert first["category_id"] == int(best[0]) + 1
    assert first["score"] == pytest.approx(float(best[1]), abs=1e-5)
    assert first["bbox"] == pytest.approx([*best[2:4], *(best[4:] - best[2:4])], abs=1e-2)
    for name in READABLE[1:]:
        before = cv2.imread(str(gallery / name), cv2.IMREAD_COLOR).astype(int)
        after = cv2.imread(str(tmp_path / name)).astype(int)
        assert after.shape == before.shape
        assert (np.abs(after - before).max(axis=2) > 60).mean() > 0.02, "boxes are drawn"


def test_nothing_is_drawn_below_the_threshold(exported: Path, gallery: Path, tmp_path: Path) -> None:
    picture = gallery / "b_grey.png"
    arguments = ["--model_dir", exported, "--image_file", picture, "--output_dir", tmp_path, "--threshold", "1.1"]
    assert deploy.command(list(map(str, arguments))) == 0
    assert np.array_equal(cv2.imread(str(tmp_path / picture.name)), cv2.imread(str(picture)))


def test_save_images_can_be_turned_off(exported: Path, gallery: Path, tmp_path: Path) -> None:
    arguments = ["--model_dir", exported, "--image_file", gallery / "b_grey.png", "--output_dir", tmp_path / "none"]
    assert deploy.command([*map(str, arguments), "--save_images=False"]) == 0
    assert not (tmp_path / "none").exists()


def test_benchmark(exported: Path, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--model_dir", exported, "--image_file", gallery / "b_grey.png", "--output_dir", tmp_path / "none"]
    assert deploy.command([*map(str, arguments), "--run_benchmark", "--enable_mkldnn=True", "--cpu_threads=2"]) == 0
    out = capsys.readouterr().out
    assert "Test iter 0" in out
    assert "img_num: 1" in out
    assert "inference_time(ms): 0.00" not in out
    assert not (tmp_path / "none").exists()


def test_video(exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    rng = np.random.default_rng(2)
    for _ in range(3):
        writer.write(rng.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    writer.release()
    arguments = ["--model_dir", exported, "--video_file", video, "--output_dir", tmp_path / "out"]
    assert deploy.command(list(map(str, arguments))) == 0
    assert f"save result to: {tmp_path / 'out' / 'clip.mp4'}" in capsys.readouterr().out
    drawn = cv2.VideoCapture(str(tmp_path / "out" / "clip.mp4"))
    assert [drawn.get(key) for key in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FPS)] == [
        3,
        96,
        10,
    ]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "--image_file"),
        (["--image_dir", "nowhere"], "nowhere"),
        (["--image_file", "nowhere.jpg"], "nowhere.jpg"),
        (["--video_file", "nowhere.avi"], "nowhere.avi"),
        (["--image_file", "x.jpg", "--run_mode", "trt_fp32"], "TensorRT"),
    ],
)
def test_mistakes(exported: Path, flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert deploy.command(["--model_dir", str(exported), *flags]) == 1
    error = capsys.readouterr().err
    assert "error: " in error
    assert says in error


@pytest.mark.slow
def test_infer_and_export_from_weights(
    config: Callable, detector: object, gallery: Path, tmp_path: Path, root: Path
) -> None:
    from ppkd.utils.serialization import write_weights

    write_weights(tmp_path / "model_final.pdparams", detector.state_dict())
    cfg = config()
    slim = tmp_path / "slim.yml"
    slim.write_text("slim: Distill\n")
    common = [
        "-c", cfg.path, "-o", f"weights={tmp_path / 'model_final'}", "filename=tiny",
        "TestDataset.label_list=[a, b, c, d]",
    ]  # fmt: skip
    export = [*common, "--output_dir", str(tmp_path / "models"), "--slim_config", str(slim)]
    code, said = call(root / "tools/export_model.py", *export, folder=root)
    assert code == 0, said
    assert "241/241 tensors from" in said
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join(READABLE))
    code, said = call(
        root / "tools/infer.py", *common, "TestReader.batch_size=2", f"--infer_dir={gallery}",
        f"--infer_list={listing}", f"--output_dir={tmp_path / 'drawn'}", "--save_results", "--draw_threshold=0.2",
        folder=root,
    )  # fmt: skip
    assert code == 0, said
    folder = tmp_path / "models" / "tiny"
    flags = ["--image_dir", gallery, "--output_dir", tmp_path / "deployed", "--save_results", "--batch_size", 2]
    deploy.command(list(map(str, ["--model_dir", folder, *flags])))
    drawn, deployed = (json.loads((tmp_path / name / "bbox.json").read_text()) for name in ("drawn", "deployed"))
    assert len(drawn) > 40
    assert drawn == deployed
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == sorted([*READABLE, "bbox.json"])

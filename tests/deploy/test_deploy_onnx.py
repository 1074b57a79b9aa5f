"""An ONNX file: the detections of the Paddle model, with what the file says of itself, and refusals in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from settled import small, small_config

from ppkd.cli import deploy as deploy_command
from ppkd.cli import export as export_command
from ppkd.config import Config
from ppkd.data.shapes import Look, draw_image
from ppkd.deploy.description import Description
from ppkd.deploy.export import export_model
from ppkd.deploy.onnx_file import read_metadata
from ppkd.deploy.onnx_predictor import OnnxPredictor
from ppkd.deploy.predictor import Predictor
from ppkd.deploy.standalone import modules
from ppkd.deploy.to_onnx import check, convert
from ppkd.deploy.to_onnx.export import export_onnx
from ppkd.utils.errors import ConfigError, DataError, WeightsError
from ppkd.utils.serialization import write_weights

TOLERANCE = 2e-2
"""Pixels: a ten thousandth of the largest picture's side."""


Small = tuple[Callable[..., Config], Any]


@pytest.fixture(scope="module")
def yolo() -> Small:
    """A small YOLOv3 and its configuration with overrides; tests must not change it."""
    return lambda *overrides: small_config("YOLOv3", *overrides), small("YOLOv3")[1]


@pytest.fixture(scope="module")
def file(yolo: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The detector with suppression inside; tests must not change it."""
    return export_onnx(yolo[1], yolo[0](), tmp_path_factory.mktemp("onnx"))


@pytest.fixture(scope="module")
def outside(yolo: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with suppression outside."""
    return export_onnx(yolo[1], yolo[0](), tmp_path_factory.mktemp("onnx"), outputs="boxes")


@pytest.fixture(scope="module")
def program(yolo: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for Paddle Inference."""
    return export_model(yolo[1], yolo[0](), tmp_path_factory.mktemp("paddle"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    paths = [folder / f"{name}.png" for name in "abc"]
    for seed, (path, (height, width)) in enumerate(zip(paths, [(60, 90), (120, 50), (200, 200)], strict=True)):
        image, _ = draw_image(200, np.random.default_rng(seed), Look.of(0.0))
        cv2.imwrite(str(path), image[:height, :width])
    return paths


def changed(file: Path, folder: Path, change: Callable[[onnx.ModelProto], object]) -> Path:
    model = onnx.load(str(file))
    change(model)
    onnx.save(model, str(folder / "model.onnx"))
    return folder / "model.onnx"


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("form", ["file", "outside"])
def test_detections_are_those_of_the_paddle_model(
    program: Path, photos: list[Path], request: pytest.FixtureRequest, engine: str, form: str
) -> None:
    predictor = OnnxPredictor(request.getfixturevalue(form), engine=engine)
    for rows, expected in zip(predictor.predict(photos, 2), Predictor(program).predict(photos, 2), strict=True):
        assert len(rows) == len(expected) > 10
        near = np.abs(rows[:, None] - expected[None]).max(axis=-1)
        assert (near.min(axis=0) < TOLERANCE).mean() > 0.98, "near-ties may be settled in another way"


def test_the_file_alone_says_what_it_is(file: Path, program: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "alone.onnx")
    config = OnnxPredictor(tmp_path / "alone.onnx").config
    paddle = Predictor(program).config
    assert (config.label_list, config.category_ids) == (("disc", "三角", "square", "cross"), (1, 2, 3, 4))
    assert (config.preprocess, config.use_dynamic_shape, config.arch) == (paddle.preprocess, True, "YOLO")
    assert (config.outputs, config.batch, config.nms["type"]) == ("detections", None, "MultiClassNMS")
    assert read_metadata(file) == (config.metadata(), 16)
    known = {prop.key: prop.value for prop in onnx.load(str(file)).metadata_props}
    assert known == config.metadata()


@pytest.mark.slow
def test_a_fixed_batch_takes_any_number_of_pictures(
    yolo: Small, file: Path, photos: list[Path], tmp_path: Path
) -> None:
    fixed = export_onnx(yolo[1], yolo[0]("TestReader.inputs_def.image_shape=[2, 3, 160, 160]"), tmp_path)
    predictor, free = OnnxPredictor(fixed), OnnxPredictor(file)
    for rows, expected in zip(predictor.predict(photos, 3), free.predict(photos, 3), strict=True):
        assert len(rows) == len(expected)
        np.testing.assert_allclose(np.sort(rows[:, 1]), np.sort(expected[:, 1]), atol=1e-5)
    assert predictor.timing.images == 3


@pytest.mark.slow
def test_raw_heads_are_named_and_not_run(yolo: Small, photos: list[Path], tmp_path: Path) -> None:
    raw = export_onnx(yolo[1], yolo[0](), tmp_path, outputs="raw", opset=13, picture=photos[0])
    names = [output.name for output in onnx.load(str(raw)).graph.output]
    assert names[0] == "xy.0" or "." in names[0]
    assert read_metadata(raw)[1] == 13
    with pytest.raises(WeightsError, match=r"model\.onnx: it has raw heads alone.*--nms inside or outside"):
        OnnxPredictor(raw)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no ONNX model, or a damaged one"),
        (b"\x80\x02}q\x00.", "no ONNX model, or a damaged one"),
        (b"PK\x03\x04" + bytes(99), "no ONNX model, or a damaged one"),
    ],
)
def test_what_is_no_onnx_model(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=rf"model\.onnx: {says}"):
        OnnxPredictor(tmp_path)


def test_half_a_file_and_another_programs_model(file: Path, tmp_path: Path) -> None:
    (tmp_path / "half.onnx").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(WeightsError, match=r"half\.onnx: no ONNX model, or a damaged one"):
        OnnxPredictor(tmp_path / "half.onnx")
    other = changed(file, tmp_path, lambda model: model.ClearField("metadata_props"))
    with pytest.raises(WeightsError, match=r"not a model that `ppkd export --format onnx` of this version wrote"):
        OnnxPredictor(other)
    newer = changed(file, tmp_path, lambda model: setattr(model.opset_import[0], "version", 99))
    with pytest.raises(WeightsError, match="it uses opset 99, but at most"):
        OnnxPredictor(newer)
    with pytest.raises(WeightsError, match=r"nowhere: no such ONNX model"):
        OnnxPredictor(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("label_list", '["a"]'),
        ("label_list", "[1]"),
        ("nms", '{"type": []}'),
        ("batch", "0"),
        ("draw_threshold", "NaN"),
        ("outputs", '"boxen"'),
        ("preprocess", "{}"),
        ("category_ids", "[" * 5000),
    ],
)
def test_senseless_metadata_name_the_key(file: Path, key: str, value: str) -> None:
    metadata = {**read_metadata(file)[0], key: value}
    named = "category_ids" if value == '["a"]' else key
    with pytest.raises(WeightsError, match=f"x: its metadata have no sensible '{named}'"):
        Description.of(metadata, "x")


@pytest.mark.parametrize(("engine", "install"), [("openvino", "pip install openvino"), ("tensorrt", "tensorrt")])
def test_an_engine_that_is_not_here_says_how_to_get_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, engine: str, install: str
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConfigError, match=f"--engine {engine}: .*{install}"):
        OnnxPredictor(file, engine=engine)


@pytest.mark.slow
def test_a_failed_export_leaves_the_older_file(
    file: Path, yolo: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "YOLOv3").mkdir()
    shutil.copy(file, tmp_path / "YOLOv3")
    before = file.read_bytes()

    def fails(error: type[Exception], says: str, **options: object) -> None:
        with pytest.raises(error, match=says) as caught:
            export_onnx(yolo[1], yolo[0](), tmp_path, **options)
        assert "\n" not in str(caught.value)
        assert (tmp_path / "YOLOv3/model.onnx").read_bytes() == before
        assert len(list((tmp_path / "YOLOv3").iterdir())) == 1

    fails(ConfigError, "--opset 9: expected 13 to 19", opset=9)
    fails(DataError, "no.png", picture=tmp_path / "no.png")
    with monkeypatch.context() as patch:
        patch.setattr(check, "BOUND", 0.0)
        fails(WeightsError, "differs from the detector by .* more than 0e")
    monkeypatch.setattr(convert, "_CONVERT", "import os; print('[ERROR][Paddle2ONNX] no operator x'); os.abort()")
    fails(WeightsError, "paddle2onnx cannot convert the model at opset 16: no operator x; no file was written")


def test_packages_that_are_missing_are_named(yolo: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"export to ONNX needs onnx, not installed here: pip install 'ppkd\[onnx\]'"):
        export_onnx(yolo[1], yolo[0](), tmp_path)


def test_the_script_is_made_of_modules_that_need_numpy_and_opencv_alone(root: Path) -> None:
    allowed = {*sys.stdlib_module_names, "ppkd", "numpy", "cv2"}
    for module in modules():
        text = root.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        found = [line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))]
        assert set(found) <= allowed, module


REFUSE = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in allowed:
            raise ImportError(f"{name} is refused", name=name)
package, engine = sys.argv.pop(1), sys.argv.pop(1)
allowed = {*sys.stdlib_module_names, "detect", package, "numpy", "cv2", engine, "_distutils_hack", "sitecustomize"}
own = {"onnxruntime": ["coloredlogs"], "openvino": ["openvino_telemetry"]}
for name in list(allowed):
    allowed |= {*own.get(name, [])}
sys.meta_path.insert(0, Refuse())
sys.argv = sys.argv[1:]
sys.path[:1] = [sys.argv[0].rpartition("/")[0]]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_the_exported_folder_runs_with_an_engine_alone(
    file: Path, photos: list[Path], tmp_path: Path, engine: str
) -> None:
    folder = tmp_path / "device"
    shutil.copytree(file.parent, folder)
    run_alone("", folder / "infer.py", file, photos, tmp_path, engine)


@pytest.mark.slow
def test_the_clones_script_runs_with_an_engine_alone(
    root: Path, file: Path, photos: list[Path], tmp_path: Path
) -> None:
    run_alone("ppkd", root / "deploy/python/infer.py", file, photos, tmp_path, "onnxruntime", "--model_dir", file)


def run_alone(
    package: str, script: Path, file: Path, photos: list[Path], tmp_path: Path, engine: str, *more: str | Path
) -> None:
    """``script`` finds what the model in ``file`` finds; ``package``, NumPy, OpenCV and ``engine`` can be imported."""
    command = [sys.executable, "-c", REFUSE, package, engine, script, *more, "--engine", engine, "--image_dir"]
    command += [photos[0].parent, "--output_dir", tmp_path / "out", "--save_results", "--batch_size", 2]
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "out/bbox.json").read_text(encoding="utf-8"))
    assert len(rows) == sum(map(len, OnnxPredictor(file, engine=engine).predict(photos, 2)))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"a.png", "b.png", "c.png", "bbox.json"}
    for text in ("img_num: 3", "preprocess_time(ms)", "p50: ", "p99: ", "QPS"):
        assert text in done.stdout


@pytest.mark.slow
def test_commands(yolo: Small, photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_weights(tmp_path / "trained.pdparams", yolo[1].state_dict())
    arguments = ["-c", yolo[0]().path, "-o", f"weights={tmp_path / 'trained'}", "filename=tiny"]
    arguments += ["TestDataset.label_list=[a, b, c, d]", "--output_dir", str(tmp_path), "--format", "onnx"]
    assert export_command.command([*arguments, "--nms", "outside", "--check_image", str(photos[0])]) == 0
    assert "largest difference" in capsys.readouterr().out
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 64))
    writer.write(np.zeros((64, 96, 3), np.uint8))
    writer.release()
    flags = ["--model_dir", str(tmp_path / "tiny"), "--output_dir", str(tmp_path / "out")]
    assert deploy_command.command([*flags, "--video_file", str(video)]) == 0
    assert "clip.mp4" in capsys.readouterr().out
    assert deploy_command.command([*flags, "--image_dir", str(photos[0].parent), "--run_benchmark"]) == 0
    assert "img_num: 3" in capsys.readouterr().out
    assert deploy_command.command([*flags, "--camera_id", "99"]) == 1
    assert "--camera_id 99: OpenCV finds no such camera" in capsys.readouterr().err
    assert deploy_command.command([*flags, "--image_file", str(photos[0]), "--engine", "paddle"]) == 1
    assert "infer_cfg.yml" in capsys.readouterr().err

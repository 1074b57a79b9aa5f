"""The benchmark: every model on every engine that reads it, in one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ppkd.benchmark.measure import Variant, time_all
from ppkd.benchmark.models import Candidate, candidate, check_names
from ppkd.benchmark.report import Line, markdown, write_report
from ppkd.cli import benchmark
from ppkd.data.shapes import draw_shapes
from ppkd.utils.errors import ConfigError, WeightsError

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
LINE = Line("a|b", "onednn", 1, 1.0, 2.0, 3.0, 1000.0, 0.345, 1234567, 1.5, 4.9, None)


class Recorder:
    """A pipeline that writes down when it runs."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def prepare(self, picture: object) -> object:
        return picture

    def detect(self, batch: list[object]) -> None:
        self.calls.append(f"{self.name}{len(batch)}")


def test_rounds_alternate_and_only_timed_ones_count() -> None:
    calls: list[str] = []
    model = Candidate("m", None, Path("m.onnx"))
    variants = [Variant(model, engine, size) for engine, size in (("a", 1), ("b", 2), ("c", 3))]
    time_all(variants, [Recorder(variant.engine, calls) for variant in variants], rounds=2, warmup=1)
    assert calls == ["c3", "b2", "a1", "a1", "b2", "c3", "c3", "b2", "a1"]
    assert [len(variant.seconds) for variant in variants] == [2, 2, 2]
    assert variants[0].percentiles == sorted(variants[0].percentiles)


def test_table() -> None:
    *_, row = markdown([LINE]).splitlines()
    assert row == "| a\\|b | onednn | 1 | 1.0 | 2.0 | 3.0 | 1000.0 | 34.5 | 1,234,567 | 1.50 | 4.9 | - |"


def test_the_picture_needs_an_ap(tmp_path: Path) -> None:
    assert [file.name for file in write_report([LINE], tmp_path)][2:] == ["benchmark.png"]
    unknown = Line("a", "onednn", 1, 1.0, 2.0, 3.0, 4.0, None, None, None, 4.9, None)
    assert len(write_report([unknown], tmp_path / "b")) == 2
    assert json.loads((tmp_path / "b/benchmark.json").read_text())[0]["ap"] is None


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="neither an exported model nor a run's folder"):
        candidate(f"x={tmp_path}", tmp_path, ["paddle"])
    with pytest.raises(ConfigError, match="two models are called m: write NAME=PATH"):
        check_names([Candidate("m", None, Path("a")), Candidate("m", None, Path("b"))])


@pytest.mark.slow
def test_a_configuration_and_its_export(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from ppkd.config import load_config
    from ppkd.deploy.to_onnx.export import export_onnx
    from ppkd.models import build_detector
    from ppkd.utils.serialization import write_weights

    shapes = draw_shapes(tmp_path / "shapes", images_train=1, images_val=2, size=64, seed=1)
    cfg = load_config(str(root / CONFIG), ["filename=own"])
    model = build_detector(cfg)
    write_weights(tmp_path / "own.pdparams", model.state_dict())
    file = export_onnx(model, cfg, tmp_path)
    mine = tmp_path / "mine.yml"
    mine.write_text(
        f"_BASE_: [{root / CONFIG}]\nweights: {tmp_path / 'own.pdparams'}\nworker_num: 0\n"
        f"EvalDataset:\n  dataset_dir: {shapes}\nTestDataset:\n  dataset_dir: {shapes}\n"
    )
    flags = ["--engines", "paddle", "onnxruntime", "--batch_sizes", "2", "--rounds", "2", "--warmup", "1"]
    flags += ["--output_dir", str(tmp_path / "out")]
    assert benchmark.command([str(mine), f"file={file}", *flags]) == 0, capsys.readouterr().err
    lines = json.loads((tmp_path / "out/benchmark.json").read_text())
    found = [(line["model"], line["engine"], line["batch_size"]) for line in lines]
    assert found == [("mine", "paddle", 2), ("mine", "onnxruntime", 2), ("file", "onnxruntime", 2)]
    assert all(line["p50"] > 0 and line["peak_mb"] > 50 and line["file_mb"] > 1 for line in lines)
    assert [line["ap"] is None for line in lines] == [False, False, True]
    assert lines[0]["parameters"] == lines[1]["parameters"] > 1e5
    assert (tmp_path / "out/benchmark.png").is_file()
    assert "| mine | paddle | 2 |" in capsys.readouterr().out

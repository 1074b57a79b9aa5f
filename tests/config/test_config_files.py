from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ppkd.config import build, check, load_config, runtime
from ppkd.config.registry import lookup, names
from ppkd.config.signature import UNCHECKED, annotation_of

ROOT = Path(__file__).resolve().parents[2]
DETECTORS = sorted(
    path.relative_to(ROOT) for path in (ROOT / "configs").glob("*/*.yml") if path.parent.name != "datasets"
)
IDS = [path.stem for path in DETECTORS]


@pytest.mark.parametrize("path", DETECTORS, ids=IDS)
def test_every_config_is_valid_from_the_root(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config(path)
    check(config)
    assert runtime(config).epoch > 0
    assert config["weights"] == f"output/{path.stem}/model_final"
    assert {"TrainDataset", "EvalDataset", "TestDataset", "TrainReader", "EvalReader", "TestReader"} <= set(config)


@pytest.mark.parametrize("path", DETECTORS, ids=IDS)
def test_cosine_schedules_last_as_long_as_the_run(path: Path) -> None:
    """PP-YOLOE+ and the larger PicoDets end before their cosine does, as published."""
    config = load_config(ROOT / path)
    for scheduler in config.at("LearningRate.schedulers"):
        assert scheduler.get("max_epochs", config["epoch"]) >= config["epoch"]


@pytest.mark.parametrize("path", DETECTORS, ids=IDS)
def test_inputs_of_eval_and_test_agree(path: Path) -> None:
    config = load_config(ROOT / path)
    sizes = {
        entry["Resize"]["target_size"]
        for reader in ("EvalReader", "TestReader")
        for entry in config[reader]["sample_transforms"]
        if "Resize" in entry
    }
    fixed = config.at("TestReader.inputs_def.image_shape", None)
    assert len(sizes) == 1
    assert fixed is None or sizes == {fixed[1:]}


def test_no_detector_knows_of_distillation() -> None:
    for path in (ROOT / "configs").rglob("*.yml"):
        text = path.read_text(encoding="utf-8").lower()
        assert "slim" not in text
        assert "distil" not in text


def test_the_published_schedule_of_yolov3() -> None:
    config = load_config(ROOT / "configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml")
    decay, warmup = config.at("LearningRate.schedulers")
    assert (decay["milestones"], decay["gamma"], warmup["steps"]) == ((216, 243), 0.1, 4000)
    assert config.at("OptimizerBuilder.regularizer.factor") == 0.0005
    assert config.at("BBoxPostProcess.nms").to_dict() == {
        "name": "MultiClassNMS",
        "keep_top_k": 100,
        "score_threshold": 0.01,
        "nms_threshold": 0.45,
        "nms_top_k": 1000,
    }


@pytest.mark.parametrize(
    ("config", "backbone", "channels"),
    [
        ("bccd/yolov3_mobilenet_v1_x0.25_192_bccd", "MobileNet", [256, 128, 64]),
        ("shapes/yolov3_mobilenet_v1_x0.5_160_shapes", "MobileNet", [512, 256, 128]),
    ],
)
def test_small_recipes_build_narrow_detectors(config: str, backbone: str, channels: list[int]) -> None:
    cfg = load_config(ROOT / "configs" / f"{config}.yml")
    assert cfg.at("YOLOv3.backbone") == backbone
    detector: Any = build(cfg, cfg["architecture"])
    assert [level.channels for level in detector.neck.out_specs] == channels


def test_every_yaml_setting_of_every_component_is_type_checked() -> None:
    for name in names():
        component = lookup(name, "")
        for parameter in component.parameters:
            if parameter not in component.inject:
                annotation = annotation_of(component.cls, parameter)
                assert annotation is not UNCHECKED, f"{name}.{parameter}: its annotation is not importable at run time"

"""Files as a PaddleDetection user holds them, with every construct of that dialect."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from paddledetection_files import write_files

from ppkd.config import Config, build, check, load_config, runtime
from ppkd.data.reader import compose
from ppkd.engine.optim import build_optimizer
from ppkd.engine.schedules import build_learning_rate
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path)


def note(config: Config, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ppkd.config"):
        check(config)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(config.path)
    return line.split("without effect here: ")[1].split(", ")


def test_every_key_is_used_or_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(folder / "yolo/yolo_mine.yml")
    assert ", ".join(note(config, caplog)) == (
        "EvalReader (collate_batch, drop_empty), EvalReader.inputs_def.num_max_boxes, "
        "Gt2YoloTarget (anchor_masks, anchors, downsample_ratios, num_classes), MultiClassNMS (cpu), "
        "PadBox (num_max_boxes), TestReader (fuse_normalize), TrainReader.inputs_def.num_max_boxes, "
        "VOCDataSet (data_fields), use_mlu, use_npu, use_xpu"
    )


def test_a_file_of_yolov3_gives_what_it_says(folder: Path) -> None:
    config = load_config(folder / "yolo/yolo_mine.yml")
    options = runtime(config)
    assert (options.norm_type, options.snapshot_epoch, options.epoch, options.log_iter) == ("sync_bn", 5, 9, 5)
    assert (options.use_ema, options.metric, options.map_type, options.num_classes) == (True, "VOC", "integral", 3)
    model = build_detector(config)
    assert model.spec().num_classes == 3
    schedule = build_learning_rate(config).schedule(10)
    assert [schedule(step) for step in (0, 20, 40, 60, 80)] == pytest.approx([0, 0.001, 0.002, 0.0002, 0.00002])
    build_optimizer(config).build(model.parameters())
    for name in ("TrainReader", "EvalReader", "TestReader"):
        reader = build(config, name)
        assert reader.mixup_epoch == (7 if name == "TrainReader" else -1)
        assert len(compose(config, name, "sample_transforms", reader.sample_transforms).transforms) >= 4


def test_a_student_of_ld_is_a_plain_gfl(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(folder / "gfl/gfl_mine.yml")
    assert "GFLHead (loss_ld, loss_kd)" in ", ".join(note(config, caplog))
    model = build_detector(config)
    assert model.spec().entries["box_dist"].levels[0].channels == 4 * 17
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ppkd.engine"):
        build_optimizer(config).build(model.parameters())
    (record,) = caplog.records
    assert record.getMessage().startswith("weight_decay has no effect on Momentum: the regularizer is")


def test_a_typing_error_beside_accepted_keys_is_still_one(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"GFLHead\.loss_lld is not a setting of GFLHead"):
        check(load_config(folder / "gfl/gfl_mine.yml", ["LDGFLHead.loss_lld=1"]))


def test_a_key_of_older_files_is_answered_with_todays(folder: Path) -> None:
    for override, today in (
        ("use_fine_grained_loss=true", "slim/distill/yolov3_fine_grained"),
        ("max_iters=9", "epoch"),
    ):
        with pytest.raises(ConfigError, match=f"is of PaddleDetection before 2.0: .*{today}"):
            check(load_config(folder / "yolo/yolo_mine.yml", [override]))

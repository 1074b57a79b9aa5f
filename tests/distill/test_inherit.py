"""A student that starts with what of its teacher fits, as the published slim files of FGD and MGD say."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from ppkd.config import load_config
from ppkd.distill import build_distiller
from ppkd.engine.optim import build_optimizer
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError
from ppkd.utils.serialization import write_weights

PAIRS = {
    "yolov3": (
        "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml",
        "yolov3_mobilenet_v1_x0.5_160_shapes",
        "3 of 106",
    ),
    "retinanet": (
        "configs/bccd/retinanet_mobilenet_v1_x0.25_160_bccd.yml",
        "retinanet_r18_160_bccd",
        "25 of 28",
    ),
    "gfl": ("configs/bccd/gfl_mobilenet_v1_x0.25_160_bccd.yml", "gfl_r18_160_bccd", "39 of 42"),
}


def teacher_of(name: str, folder: Path) -> list[str]:
    """The overrides of a slim file for the teacher ``name`` with random weights."""
    config = load_config(name, ["pretrain_weights=null"])
    path = folder / f"{name}.pdparams"
    write_weights(path, build_detector(config).state_dict())
    return [f"teacher.config={name}", f"teacher.weights={path}"]


@pytest.mark.parametrize("method", ["fgd", "mgd"])
@pytest.mark.parametrize("pair", PAIRS)
def test_published_files_work_as_written_on_any_pair_and_say_what_was_inherited(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, pair: str, method: str
) -> None:
    student, teacher, counted = PAIRS[pair]
    slim = load_config(root / f"slim/distill/{method}.yml", teacher_of(teacher, tmp_path))
    with caplog.at_level(logging.INFO, logger="ppkd.distill"):
        model = build_distiller(load_config(root / student), slim)
    own, other = model.student.state_dict(), model.teacher.detector.state_dict()
    fitting = [name for name in own if not name.startswith("backbone.") and own[name].shape == other[name].shape]
    assert fitting
    assert all(np.array_equal(own[name].numpy(), other[name].numpy()) for name in fitting)
    (line,) = [text for text in caplog.messages if text.startswith("Student inherits")]
    assert f"outside the backbone: {counted} tensors; not neck." in line
    assert "the teacher's" in line


def test_a_whole_part_that_differs_is_refused_with_the_way_out(root: Path, tmp_path: Path) -> None:
    student, teacher, _ = PAIRS["retinanet"]
    slim = load_config(root / "slim/distill/fgd.yml", [*teacher_of(teacher, tmp_path), "student.inherit=[neck]"])
    with pytest.raises(ConfigError, match=r"^-o: the student's neck is not .*student\.inherit=matching"):
        build_distiller(load_config(root / student), slim)


def test_the_published_clip_of_gradients_is_named_and_can_be_set(root: Path) -> None:
    override = "OptimizerBuilder.clip_grad_by_norm=35"
    for name in ("fgd", "mgd", "fgd_faster_rcnn", "mgd_faster_rcnn"):
        assert f"-o {override}" in (root / f"slim/distill/{name}.yml").read_text(encoding="utf-8")
    student = load_config(root / PAIRS["retinanet"][0], [override])
    built = build_optimizer(student).build(build_detector(student).parameters())
    assert built._grad_clip.clip_norm == 35

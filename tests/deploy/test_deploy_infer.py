"""Detection with the detector itself, called from Python."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppkd.deploy.infer import infer
from ppkd.deploy.results import Tally
from ppkd.models.trained import trained_detector
from ppkd.utils.errors import ConfigError, DataError
from ppkd.utils.serialization import write_weights


@pytest.fixture(scope="module")
def weights(detector: object, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "model_final.pdparams"
    write_weights(path, detector.state_dict())
    return path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    cv2.imwrite(str(path), np.random.default_rng(4).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    return path


def test_draws_and_writes_all_detections(weights: Path, config: Callable, picture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match=r"1 of 2 pictures .*broken\.jpg"):
        infer(config(f"weights={weights}"), [broken, picture], tmp_path / "out", save_results=True)
    rows = json.loads((tmp_path / "out" / "bbox.json").read_text(encoding="utf-8"))
    assert len(rows) > 10
    assert {row["image_id"] for row in rows} == {1}
    assert {row["category"] for row in rows} <= {"disc", "三角", "square", "cross"}
    assert (cv2.imread(str(tmp_path / "out" / "noise.png")) != cv2.imread(str(picture))).any()


def test_visualize_can_be_turned_off(weights: Path, config: Callable, picture: Path, tmp_path: Path) -> None:
    infer(config(f"weights={weights}"), [picture], tmp_path / "out", visualize=False)
    assert not (tmp_path / "out").exists()


def test_visualdl_is_named_where_it_is_missing(
    weights: Path, config: Callable, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "visualdl", None)
    with pytest.raises(ConfigError, match="pip install visualdl"):
        infer(config(f"weights={weights}"), [picture], tmp_path / "out", vdl_log_dir=str(tmp_path / "vdl"))


def test_weights_must_be_named(config: Callable) -> None:
    with pytest.raises(ConfigError, match="-o weights="):
        trained_detector(config("weights=null"))


def test_what_is_found_is_told_and_what_the_threshold_hides() -> None:
    rows = np.float32([[0, 0.31, 0, 0, 9, 9], [1, 0.55, 0, 0, 9, 9], [1, 0.72, 0, 0, 9, 9]])
    tally = Tally(["disc", "三角"], 0.5)
    assert tally.add(rows) == "2 三角, best score 0.72 (三角)"
    assert tally.add(rows[:1]) == "none of 1 detections reaches 0.5, best score 0.31 (disc)"
    assert tally.add(rows[:0]) == "nothing found"
    assert tally.total("--threshold") == "2 objects in 1 of 3 pictures"
    hidden = Tally(["disc", "三角"], 0.8)
    hidden.add(rows)
    assert hidden.total("--draw_threshold") == (
        "0 objects in 0 of 1 pictures: the threshold 0.8 hides all that was found, the best score is 0.72; "
        "try --draw_threshold 0.36"
    )
    empty = Tally(["disc"], 0.5)
    empty.add(rows[:0])
    assert empty.total("--threshold") == "0 objects in 0 of 1 pictures"


def test_a_line_for_each_picture_stands_in_the_log(
    weights: Path, config: Callable, picture: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    infer(config(f"weights={weights}"), [picture], tmp_path / "out", draw_threshold=1.1)
    assert [message for message in caplog.messages if message.startswith("noise.png: none of ")]
    assert "the threshold 1.1 hides all that was found" in caplog.messages[-1]

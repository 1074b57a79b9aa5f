"""``ppkd.Detector`` and the predictions it gives: as drawn pictures, tables, figures and exports."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

import ppkd
from ppkd.config import load_config
from ppkd.config.write import to_yaml
from ppkd.data.image import read_image
from ppkd.deploy.predictions import Prediction, Predictions
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError, DataError
from ppkd.utils.serialization import write_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
NAMES = ("disc", "三角", "square")
ROWS = np.float32([[0, 0.9, 2, 2, 20, 20], [1, 0.4, 5, 6, 30, 31], [0, 0.2, 1, 1, 9, 9]])


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def run(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run: random weights under which much is found."""
    folder = tmp_path_factory.mktemp("run")
    cfg = load_config(root / CONFIG, ["num_classes=3", f"TestDataset.label_list=[{', '.join(NAMES)}]"])
    (folder / "config.yml").write_text(to_yaml(cfg), encoding="utf-8")
    paddle.seed(3)
    write_weights(folder / "model_final.pdparams", {k: v.numpy() for k, v in build_detector(cfg).state_dict().items()})
    for i in range(3):
        (folder / "in").mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "in" / f"{i}.png"), noise(i))
    return folder


@pytest.fixture(scope="module")
def detector(run: Path) -> ppkd.Detector:
    return ppkd.Detector.load(run)


@pytest.fixture
def found() -> Prediction:
    return Prediction(noise(0), ROWS, NAMES, "0.png")


def test_a_run_predicts_files_folders_arrays_and_lists(detector: ppkd.Detector, run: Path) -> None:
    assert detector.class_names == NAMES and "model_final" in repr(detector)
    file = run / "in" / "1.png"
    array = read_image(file)
    whole = detector.predict(run / "in", score=0.0, batch_size=2)
    assert [each.name for each in whole] == ["0.png", "1.png", "2.png"] and all(map(len, whole))
    for pictures in (file, str(file), array, [file], (array,), array[None]):
        same = detector.predict(pictures, score=0.0)
        assert len(same) == 1
        np.testing.assert_allclose(same[0].rows, whole[1].rows, rtol=1e-4, atol=1e-3)
    best = max(each.scores.max() for each in whole)
    assert len(detector.predict(run / "in", score=best)) == 3
    assert sum(map(len, detector.predict(run / "in", score=best + 0.01))) == 0


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ("nowhere.png", r"no image or folder of images at nowhere\.png"),
        (np.zeros((4, 4), np.uint8), "pictures are ndarray: expected a path, an RGB array, or several"),
        (np.zeros((4, 4, 3), np.float32), r"float32 \(4, 4, 3\) is no picture: expected RGB uint8"),
        (7, "pictures are int: expected a path"),
    ],
)
def test_what_is_no_picture_is_refused(detector: ppkd.Detector, pictures: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        detector.predict(pictures)


def test_an_export_is_loaded_again_and_finds_the_same(detector: ppkd.Detector, run: Path, tmp_path: Path) -> None:
    folder = detector.export(tmp_path)
    exported = ppkd.Detector.load(folder)
    assert exported.class_names == NAMES and "exported model" in repr(exported)
    theirs, own = (each.predict(run / "in" / "0.png", score=0.0)[0].rows for each in (exported, detector))
    np.testing.assert_allclose(theirs, own, rtol=1e-3, atol=1e-2)
    for wanted in (exported.export, exported.evaluate):
        with pytest.raises(ConfigError, match=r"an exported model does not (export|evaluate): load the folder of the"):
            wanted()
    with pytest.raises(ConfigError, match="has its own weights"):
        ppkd.Detector.load(folder, weights="a")


def test_it_evaluates_by_its_configuration(detector: ppkd.Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("ppkd.experiment.evaluation.evaluate_config", lambda *given, **more: seen.append((given, more)))
    detector.evaluate(classwise=True)
    ((given, more),) = seen
    assert given[0]["weights"].endswith("model_final") and more == {"classwise": True}


def test_folders_that_are_none_are_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(ConfigError, match=r"neither a run's folder \(config\.yml\) nor an exported model"):
        ppkd.Detector.load(tmp_path)
    (tmp_path / "config.yml").write_text((run / "config.yml").read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ConfigError, match="no complete checkpoint yet"):
        ppkd.Detector.load(tmp_path)
    assert ppkd.Detector.load(tmp_path, weights=run / "model_final").class_names == NAMES


def test_a_prediction_filters_by_score_and_class(found: Prediction) -> None:
    assert (len(found), len(found.filter(0.4)), len(found.filter(score=0.5))) == (3, 2, 1)
    assert found.filter(classes=["三角"]).classes.tolist() == [1]
    assert found.filter(0.3, classes=[0, "三角"]).classes.tolist() == [0, 1]
    assert repr(found) == "<Prediction 0.png: 3 objects, best score 0.90>"
    with pytest.raises(ConfigError, match=r"there is no class 'disk'; did you mean 'disc'\?; classes are disc, 三角"):
        found.filter(classes=["disk"])
    with pytest.raises(ConfigError, match="there is no class 3"):
        found.filter(classes=[3])


def test_a_prediction_draws_saves_and_shows_itself(found: Prediction, tmp_path: Path) -> None:
    drawn = found.draw()
    assert drawn.shape == found.picture.shape and not np.array_equal(drawn, found.picture)
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(shown, drawn)
    np.testing.assert_array_equal(read_image(found.save(tmp_path / "one.png")), drawn)
    both = Predictions([found, found.filter(0.5)], [1, 2, 3])
    pictures = re.findall(r"base64,([^\"]+)", both._repr_html_())
    assert base64.b64decode(pictures[0]) == found._repr_png_() and len(pictures) == 2
    assert repr(both[1:]) == "<Predictions: 1 objects in 1 pictures>" and len(both.filter(0.95)[0]) == 0


def test_predictions_are_saved_under_their_names_and_never_over_their_pictures(run: Path, tmp_path: Path) -> None:
    files = sorted((run / "in").iterdir())[:2]
    both = Predictions([Prediction(file, ROWS, NAMES, file.name) for file in files], [1, 2, 5])
    both.save(tmp_path)
    np.testing.assert_array_equal(read_image(tmp_path / "1.png"), both[1].draw())
    rows = json.loads((tmp_path / "bbox.json").read_text(encoding="utf-8"))
    assert [row["file_name"] for row in rows] == ["0.png"] * 3 + ["1.png"] * 3 and rows[0]["category"] == "disc"
    with pytest.raises(DataError, match="would overwrite the input"):
        both.save(run / "in")


def test_a_table_for_pandas(found: Prediction) -> None:
    pytest.importorskip("pandas", reason="to_pandas needs pandas")
    table = Predictions([found, found.filter(0.5)], [1, 2, 3]).to_pandas()
    assert list(table.columns) == ["picture", "class", "score", "x1", "y1", "x2", "y2"]
    assert table["class"].tolist() == ["disc", "三角", "disc", "disc"] and table["x2"][1] == 30
    assert len(Predictions([], []).to_pandas()) == 0


def test_detections_for_supervision(found: Prediction) -> None:
    pytest.importorskip("supervision", reason="to_supervision needs supervision")
    (given,) = Predictions([found], [1, 2, 3]).to_supervision()
    np.testing.assert_array_equal(given.xyxy, ROWS[:, 2:])
    assert given.class_id.tolist() == [0, 1, 0] and given["class_name"].tolist() == ["disc", "三角", "disc"]


@pytest.mark.parametrize("package", ["pandas", "supervision"])
def test_a_missing_package_is_named(found: Prediction, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ConfigError, match=f"to_{package} needs the package {package}: pip install {package}"):
        getattr(found, f"to_{package}")()

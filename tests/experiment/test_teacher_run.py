"""A teacher is a run: its folder gives configuration, weights and class names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.distill.build import build_distiller, check_slim
from ppkd.distill.teacher_run import with_teacher_runs
from ppkd.experiment import TrainOptions, distill, train
from ppkd.utils.errors import ConfigError
from ppkd.utils.serialization import read_pickle, read_weights

TEACHER = "configs/shapes/yolov3_mobilenet_v1_x0.5_160_shapes.yml"
STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
SLIM = "slim/distill/yolov3_l2.yml"


pytestmark = pytest.mark.usefixtures("logger_as_before")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """``-o`` of a run of seconds on shapes of one class."""
    folder = draw_shapes(tmp_path_factory.mktemp("shapes"), images_train=4, images_val=2, size=64, seed=1)
    for file in folder.rglob("*.json"):
        content = json.loads(file.read_text())
        content["categories"] = [{"id": content["categories"][0]["id"], "name": "thing"}]
        for box in content["annotations"]:
            box["category_id"] = content["categories"][0]["id"]
        file.write_text(json.dumps(content))
    data = [f"{key}Dataset.dataset_dir={folder}" for key in ("Train", "Eval")]
    sizes = [f"{reader}.Resize.target_size=[64,64]" for reader in ("TrainReader.sample_transforms.2",)]
    return [*data, *sizes, "num_classes=1", "epoch=1", "worker_num=0", "TrainReader.batch_size=2"]


@pytest.fixture(scope="module")
def teacher(root, settings, tmp_path_factory):
    """The folder of a trained teacher with one class, which no file of the repository describes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return train(load_config(TEACHER, [*settings, f"save_dir={tmp_path_factory.mktemp('teacher')}"]))


def slim_of(teacher):
    return load_config(SLIM, [f"teacher={teacher}"])


def test_a_run_teaches_through_its_folder(root, settings, teacher, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    overrides = [*settings, f"save_dir={tmp_path}", f"slim.teacher={teacher}"]
    folder = distill(STUDENT, SLIM, overrides=overrides, options=TrainOptions(evaluate=False))
    assert folder == tmp_path / f"{Path(STUDENT).stem}_yolov3_l2"
    log = (folder / "train.log").read_text()
    assert "Classes: the teacher's are the student's: thing" in log
    assert read_pickle(folder / "model_final.pdstates")["teachers"]["teacher"][:12] in log
    assert load_config(folder / "slim.yml")["teacher"] == str(teacher)


def test_the_teacher_is_the_one_that_was_trained(root, settings, teacher, monkeypatch):
    monkeypatch.chdir(root)
    made = build_distiller(load_config(STUDENT, settings), slim_of(teacher)).teacher.detector
    assert made.spec().num_classes == 1
    saved = read_weights(teacher / "model_final")
    for name, tensor in made.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), saved[name])


@pytest.fixture
def run(teacher, tmp_path):
    """A folder with the teacher's configuration and the named checkpoints, empty ones where only the name matters."""

    def made(*stems):
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "config.yml").write_bytes((teacher / "config.yml").read_bytes())
        for stem in stems:
            for suffix in ("pdparams", "pdopt", "pdstates"):
                (folder / f"{stem}.{suffix}").write_bytes((teacher / f"model_final.{suffix}").read_bytes())
        return folder

    return made


@pytest.mark.parametrize(
    ("stems", "chosen"),
    [(("0", "best_model", "model_final"), "best_model"), (("0", "model_final"), "model_final"), (("0", "1"), "1")],
)
def test_the_best_weights_are_taken(run, stems, chosen):
    folder = run(*stems)
    assert with_teacher_runs(slim_of(folder))["teacher"]["weights"] == str(folder / chosen)


def test_an_incomplete_newer_checkpoint_is_passed_over(run):
    folder = run("0", "1")
    (folder / "1.pdopt").unlink()
    assert with_teacher_runs(slim_of(folder))["teacher"]["weights"] == str(folder / "0")


def test_mistakes_name_the_folder_and_what_to_do(run, tmp_path):
    folder = run()
    for teacher, message in (
        (tmp_path / "absent", "^-o: teacher: there is no folder .*absent: give a run's folder, or a mapping"),
        (folder, "no complete checkpoint yet"),
        (tmp_path, r"has no config\.yml.*give teacher\.config and teacher\.weights instead"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_slim(slim_of(teacher))


def test_a_relative_folder_is_found_from_the_slim_file(run, tmp_path, monkeypatch, root):
    folder = run("0")
    (tmp_path / "slims").mkdir()
    slim = tmp_path / "slims" / "a.yml"
    slim.write_text(f"_BASE_: {root / SLIM}\nteacher: run\n")
    monkeypatch.chdir(root)
    assert with_teacher_runs(load_config(slim))["teacher"]["weights"] == str(folder / "0")
    monkeypatch.chdir(tmp_path)
    assert with_teacher_runs(load_config(slim))["teacher"]["weights"] == "run/0"

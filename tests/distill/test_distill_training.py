"""The invariants after real trainer steps: read from the files that a run leaves behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.distill import FrozenTeacher
from ppkd.experiment import distill
from ppkd.models import build_detector
from ppkd.models.weights import load_weights
from ppkd.utils.errors import ConfigError, WeightsError
from ppkd.utils.serialization import digest, read_pickle, read_weights, write_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
SLIM = "slim/distill/yolov3_fine_grained.yml"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw_shapes(tmp_path_factory.mktemp("shapes"), images_train=8, images_val=2, size=96, seed=3)


@pytest.fixture
def run(root, shapes, tmp_path, monkeypatch):
    """A run of four steps; the teacher is a random detector in a file."""
    monkeypatch.chdir(root)
    teacher = build_detector(load_config(CONFIG))
    write_weights(tmp_path / "teacher.pdparams", {k: v.numpy() for k, v in teacher.state_dict().items()})
    overrides = [
        *(f"{name}Dataset.dataset_dir={shapes}" for name in ("Train", "Eval")),
        f"save_dir={tmp_path}",
        "epoch=2",
        "worker_num=0",
        "TrainReader.batch_size=4",
        f"slim.teacher.config={CONFIG}",
        f"slim.teacher.weights={tmp_path / 'teacher.pdparams'}",
    ]
    return lambda *more, slim=SLIM: distill(CONFIG, slim, overrides=[*overrides, *more])


@pytest.mark.slow
def test_a_run_leaves_the_teacher_alone_and_saves_plain_students(run, tmp_path):
    file = tmp_path / "teacher.pdparams"
    before = digest(file)
    folder = run("filename=kd")
    teacher = build_detector(load_config(CONFIG))
    load_weights(teacher, str(file))
    states = read_pickle(folder / "model_final.pdstates")
    assert FrozenTeacher(teacher).fingerprint() == states["teachers"]["teacher"]
    assert digest(file) == before
    saved = sorted(folder.glob("*.pdparams"))
    assert [path.stem for path in saved] == ["model_final"]
    plain = {name: tuple(tensor.shape) for name, tensor in teacher.state_dict().items()}
    assert {name: array.shape for name, array in read_weights(saved[0]).items()} == plain


@pytest.mark.slow
def test_inherited_parts_start_as_the_teachers(run, tmp_path):
    slim = tmp_path / "slim.yml"
    slim.write_text(f"_BASE_: [{tmp_path.cwd() / SLIM}]\nstudent: {{inherit: [neck, head]}}\n")
    folder = run("filename=kd", "LearningRate.base_lr=1e-12", "OptimizerBuilder.optimizer.weight_decay=0.", slim=slim)
    student, teacher = read_weights(folder / "model_final"), read_weights(tmp_path / "teacher")
    distances = {
        part: max(np.abs(student[name] - teacher[name]).max() for name in student if name.startswith(part))
        for part in ("backbone.conv1._conv", "neck.yolo_block.0.tip.conv", "yolo_head")
    }
    assert distances["neck.yolo_block.0.tip.conv"] < 1e-6
    assert distances["yolo_head"] < 1e-6
    assert distances["backbone.conv1._conv"] > 1e-2


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("slim.losses.fine_grained.wieght=3", ConfigError, "wieght.*did you mean 'weight'"),
        ("slim.losses.fine_grained.type=YOLOv3FineGraned", ConfigError, "did you mean 'YOLOv3FineGrained'"),
        ("slim.losses.fine_grained.type=MobileNetV1", ConfigError, "MobileNetV1"),
        ("slim.losses.fine_grained.schedule={decay: cosine}", ConfigError, "stop_epoch"),
        (
            "slim.losses.fine_grained.schedule={decay: up_down}",
            ConfigError,
            "decay is up_down, which ends at stop_epoch",
        ),
        ("slim.losses.fine_grained.schedule={decay: down}", ConfigError, 'is "down", expected .*up_down'),
        ("slim.teacher.weights=null", ConfigError, "teacher.weights is missing"),
        ("slim.teacher.config=nowhere.yml", ConfigError, "the teacher's configuration nowhere.yml does not exist"),
        ("slim.teacher.wieghts=x", ConfigError, "teacher.wieghts.*did you mean 'weights'"),
        ("slim.teacher.weights=nowhere", WeightsError, "nowhere"),
        ("slim.student.inherit=[tail]", ConfigError, r"student.inherit\[0\] is \"tail\", expected 'backbone'"),
        ("slim.student.inherit=neck", ConfigError, 'student.inherit is "neck", expected a valid array'),
        ("slim.teacher.config=3", ConfigError, "teacher.config is 3, expected a valid string"),
        ("slim.teacher.weights=3", ConfigError, "teacher.weights is 3, expected a valid string"),
        ("slim.unlabelled_batch_size=2", ConfigError, "unlabelled_batch_size needs an UnlabelledDataset"),
        ("slim.unlabelled_batch_size=x", ConfigError, 'unlabelled_batch_size is "x", expected a valid integer'),
        ("slim.losses.fine_grained.schedule={warmup_epoch: 1}", ConfigError, "schedule.warmup_epoch is not a setting"),
        ("slim.slim=OFA", ConfigError, "^-o: slim: OFA is training of a once-for-all network, which ppkd does not do"),
    ],
)
def test_mistakes_in_the_slim_file_are_named(run, override, error, message):
    with pytest.raises(error, match=message):
        run(override)


@pytest.mark.parametrize("mistake", ["losses.fine_grained.wieght=3", "teacher.config=teacher.yml"])
def test_the_slim_file_is_checked_before_anything_is_opened(tmp_path, root, mistake, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("teacher.yml").write_text(f"_BASE_: [{root / CONFIG}]\nnum_clases: 3\n")
    overrides = [f"slim.teacher.config={root / CONFIG}", "slim.teacher.weights=nowhere", f"slim.{mistake}"]
    with pytest.raises(ConfigError, match=r"did you mean 'weight'|did you mean 'num_classes'"):
        distill(root / CONFIG, root / SLIM, overrides=["TrainDataset.dataset_dir=nowhere", *overrides])

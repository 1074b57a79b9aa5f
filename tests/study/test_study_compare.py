"""Tables of methods: which runs a file means, what is skipped, and the arithmetic of the table."""

from __future__ import annotations

import json

import pytest

from ppkd.config import load_config
from ppkd.study.compare import Comparison, compare, plan
from ppkd.study.perform import Slots, perform_all
from ppkd.study.report import Row, markdown, write_report
from ppkd.study.runs import Run
from ppkd.study.settings import read
from ppkd.utils.errors import ConfigError, TrainingError

STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
TEACHER = "configs/shapes/yolov3_mobilenet_v1_x0.5_160_shapes.yml"
FILE = f"""
student: {STUDENT}
teacher: {{config: {TEACHER}}}
seeds: [0, 1]
options: [epoch=1]
methods:
  L2: {{slim: slim/distill/yolov3_l2.yml, options: [slim.losses.l2.weight=10]}}
  fine, grained: {{slim: slim/distill/yolov3_fine_grained.yml}}
"""


@pytest.fixture
def study(tmp_path, root, monkeypatch):
    """Writes a comparison's file with the given text, seen from the root of the clone."""
    monkeypatch.chdir(root)

    def write(text=FILE):
        path = tmp_path / "table.yml"
        path.write_text(text)
        return load_config(path, [f"output={tmp_path / 'out'}"])

    return write


def test_every_method_has_a_run_for_each_seed_from_the_same_teacher(study, tmp_path):
    teacher, students = plan(read(study(), Comparison), tmp_path)
    assert {name: [run.name for run in runs] for name, runs in students.items()} == {
        "baseline": ["baseline-0", "baseline-1"],
        "L2": ["L2-0", "L2-1"],
        "fine, grained": ["fine_grained-0", "fine_grained-1"],
    }
    weights = f"slim.teacher.weights={tmp_path / 'teacher' / 'model_final'}"
    of_teacher = (f"slim.teacher.config={TEACHER}", weights)
    assert students["L2"][1].options == ("epoch=1", "seed=1", *of_teacher, "slim.losses.l2.weight=10")
    assert students["baseline"][1].options == ("epoch=1", "seed=1")
    assert students["baseline"][0].slim is None
    assert teacher.options == ("epoch=1",)


def test_evaluation_takes_the_detectors_options_alone(study, tmp_path):
    _, students = plan(read(study(), Comparison), tmp_path)
    train, evaluate = students["L2"][0].commands(tmp_path)
    assert "slim.losses.l2.weight=10" in train
    assert "-r" not in train
    assert not [argument for argument in evaluate if argument.startswith("slim.")]
    assert f"weights={tmp_path / 'L2-0' / 'model_final'}" in evaluate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("student:", "studnet:"), "studnet is not a key here; did you mean 'student'"),
        (("seeds: [0, 1]", "seeds: [a]"), r"seeds\[0\] is \"a\", expected a valid integer"),
        (("seeds: [0, 1]", "seeds: []"), "at least one method and one seed"),
        (("epoch=1", "epohc=1"), "epohc"),
        (("slim.losses.l2.weight=10", "slim.losses.l2.wieght=10"), "wieght"),
        (("yolov3_fine_grained.yml", "yolov3_fine.yml"), "yolov3_fine.yml does not exist"),
    ],
)
def test_a_mistake_in_any_run_is_found_before_the_first_one(study, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        compare(study(FILE.replace(*change)), Slots())
    assert not (tmp_path / "out").exists()


def test_a_finished_run_is_not_repeated_and_another_one_is_refused(tmp_path):
    run = Run("a", STUDENT, ("epoch=1",))
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "plan.json").write_text(
        json.dumps({"name": "a", "config": STUDENT, "options": ["epoch=1"], "slim": None, "weights": None})
    )
    (tmp_path / "a" / "metrics.json").write_text('{"AP": 0.25}')
    assert perform_all([run], tmp_path, Slots()) == {"a": {"AP": 0.25}}
    with pytest.raises(TrainingError, match="1 of 1 runs failed: a"):
        perform_all([Run("a", STUDENT, ("epoch=2",))], tmp_path, Slots())
    with pytest.raises(ConfigError, match=r"holds another run: options was \['epoch=1'\], is \['epoch=2'\]"):
        Run("a", STUDENT, ("epoch=2",)).figures(tmp_path)


def test_one_failing_run_leaves_the_others_to_finish(tmp_path, caplog):
    good = Run("good", STUDENT)
    (tmp_path / "good").mkdir()
    (tmp_path / "good" / "metrics.json").write_text('{"AP": 0.5}')
    with pytest.raises(TrainingError, match="1 of 2 runs failed: bad"):
        perform_all([Run("bad", "missing.yml"), good], tmp_path, Slots(jobs=2))
    assert "missing.yml does not exist" in caplog.text
    assert (tmp_path / "bad" / "console.log").is_file()


def row(name, *aps, seconds=0.1):
    figures = tuple({"AP": ap, "AP50": 2 * ap} for ap in aps)
    return Row(name, tuple(f"{name}-{i}" for i in range(len(aps))), figures, (seconds,) * len(aps))


def test_gains_are_paired_by_seed(tmp_path):
    rows = [row("teacher", 0.4, seconds=None), row("baseline", 0.20, 0.30), row("method", 0.23, 0.35, seconds=0.25)]
    lines = markdown(rows).splitlines()
    assert lines[0] == "| method | AP | AP50 | gain AP | ms / step |"
    assert lines[2] == "| teacher | 40.0 | 80.0 | - | - |"
    assert lines[3] == "| baseline | 25.0 | 50.0 | - | 100 |"
    assert lines[4] == "| method | 29.0 | 58.0 | +4.0 ± 1.4 | 250 |"
    write_report(rows, tmp_path, "title")
    assert (tmp_path / "gains.png").stat().st_size > 1000
    assert (tmp_path / "table.csv").read_text().splitlines()[-1] == "method,method-1,0.35,0.7,0.25"

"""Comparisons: which runs a file means, what is skipped, which seeds are added, and what a broken-off one keeps."""

from __future__ import annotations

import json

import pytest

from ppkd.config import load_config
from ppkd.study.compare import compare
from ppkd.study.comparison import read_comparison, teacher_run, trials
from ppkd.study.perform import Slots, perform_all
from ppkd.study.runs import Run
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
MORE = FILE.replace("seeds: [0, 1]", "seeds: [0]\nuntil: 0.7")


@pytest.fixture
def study(tmp_path, root, monkeypatch):
    """Writes a comparison's file with the given text, seen from the root of the clone."""
    monkeypatch.chdir(root)

    def write(text=FILE, *options):
        path = tmp_path / "table.yml"
        path.write_text(text)
        return load_config(path, [f"output={tmp_path / 'out'}", *options])

    return write


def names(runs):
    return [trial.run.name for trial in runs]


def test_every_method_has_a_run_for_each_seed_from_the_same_teacher(study, tmp_path):
    settings = read_comparison(study())
    assert names(trials(settings, "baseline", [0, 1], tmp_path)) == ["baseline-0", "baseline-1"]
    assert names(trials(settings, "fine, grained", [0, 1], tmp_path)) == ["fine_grained-0", "fine_grained-1"]
    weights = f"slim.teacher.weights={tmp_path / 'teacher' / 'model_final'}"
    of_teacher = (f"slim.teacher.config={TEACHER}", weights)
    run = trials(settings, "L2", [0, 1], tmp_path)[1].run
    assert run.options == ("epoch=1", "seed=1", *of_teacher, "slim.losses.l2.weight=10")
    alone = trials(settings, "baseline", [0, 1], tmp_path)
    assert alone[1].run.options == ("epoch=1", "seed=1")
    assert alone[0].run.slim is None
    assert teacher_run(settings).options == ("epoch=1",)


def test_numbers_of_threads_are_runs_of_their_own(study, tmp_path):
    runs = trials(read_comparison(study(f"{FILE}threads: [1, 2]\n")), "L2", [0, 1], tmp_path)
    assert names(runs) == ["L2-0-t1", "L2-0-t2", "L2-1-t1", "L2-1-t2"]
    assert [trial.key for trial in runs] == [(0, 1), (0, 2), (1, 1), (1, 2)]


def test_a_run_computes_on_its_threads_and_its_time_adds_up(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("ppkd.study.runs.subprocess.run", lambda _, **given: seen.append(given["env"]) or Done())
    run = Run("a", STUDENT, weights="model_final", threads=2)
    run.perform(tmp_path, {"CUDA_VISIBLE_DEVICES": "1"})
    assert (seen[0]["OMP_NUM_THREADS"], seen[0]["CUDA_VISIBLE_DEVICES"]) == ("2", "1")
    (tmp_path / "a" / "seconds.json").write_text('{"seconds": 20.0}')
    run.perform(tmp_path)
    assert 20.0 <= run.seconds(tmp_path) < 25.0


class Done:
    returncode = 0


def test_evaluation_takes_the_detectors_options_alone(study, tmp_path):
    train, evaluate = trials(read_comparison(study()), "L2", [0], tmp_path)[0].run.commands(tmp_path)
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
        (("seeds: [0, 1]", "seeds: [1, 1]"), "seeds has a number twice"),
        (("seeds: [0, 1]", "threads: [1, 0]"), "threads must be 1 or more"),
        (("seeds: [0, 1]", "jobs: 0"), "jobs must be 1 or more"),
        (("seeds: [0, 1]", "budget: 3h"), "table.yml:4: budget bounds the seeds that `until` adds"),
        (("seeds: [0, 1]", "until: 0.7\nbudget: soon"), "budget: 'soon' is no duration; write 3h, 90m"),
        (("seeds: [0, 1]", "until: 0"), "until is half the width"),
        (("  L2:", "  teacher:"), "a method cannot be called teacher"),
        (("epoch=1", "epohc=1"), "epohc"),
        (("slim.losses.l2.weight=10", "slim.losses.l2.wieght=10"), "wieght"),
        (("yolov3_fine_grained.yml", "yolov3_fine.yml"), "yolov3_fine.yml does not exist"),
    ],
)
def test_a_mistake_in_any_run_is_found_before_the_first_one(study, tmp_path, change, message):
    with pytest.raises(ConfigError, match=message):
        compare(study(FILE.replace(*change)))
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
    with pytest.raises(ConfigError, match="0 runs at once: give --jobs 1 or more"):
        Slots(jobs=0)


class Machine:
    """Stands for the training: writes figures at once and says that a run took ten minutes."""

    def __init__(self, monkeypatch):
        self.trained = []
        self.broken = ()
        machine = self
        monkeypatch.setattr("ppkd.study.report.plot_gains", lambda *_: None)
        monkeypatch.setattr(Run, "perform", lambda run, folder, _=None: machine.perform(run, folder))

    def perform(self, run, folder):
        if run.name in self.broken:
            raise TrainingError(f"{run.name} broke off")
        self.trained.append(run.name)
        (folder / run.name).mkdir(parents=True)
        (folder / run.name / "seconds.json").write_text('{"seconds": 600}')
        name, _, seed = run.name.partition("-")
        ap = 0.3 + 0.01 * (7 * int(seed or 0) % 5)
        ap += {"L2": 0.04, "fine_grained": 0.03 * (-1) ** int(seed or 0)}.get(name, 0.0)
        figures = {"AP": ap, "APs": -1.0}
        (folder / run.name / "metrics.json").write_text(json.dumps(figures))


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def report(folder):
    return json.loads((folder / "report.json").read_text())


def test_seeds_are_added_where_the_interval_is_wide_and_to_the_baseline(study, machine):
    numbers = report(compare(study(f"{MORE}max_seeds: 5\n")))
    runs = {row["name"]: [run["run"] for run in row["runs"]] for row in numbers["rows"]}
    assert runs["L2"] == ["L2-0", "L2-1", "L2-2"]
    assert runs["baseline"] == [f"baseline-{seed}" for seed in range(5)]
    assert len(runs["fine, grained"]) == 5
    assert numbers["gains"]["L2"] == {
        "values": pytest.approx([4, 4, 4]),
        "mean": pytest.approx(4),
        "half_width": pytest.approx(0, abs=1e-9),
        "shown": "gain",
    }
    assert numbers["gains"]["fine, grained"]["shown"] == "no difference shown"
    assert numbers["end"] == "5 seeds are the most that are allowed (`max_seeds`). Wider than 0.7 to either side: " + (
        "fine, grained."
    )


def test_the_progress_counts_all_runs_of_the_study(study, machine, caplog):
    caplog.set_level("INFO")
    compare(study(MORE, "max_seeds=4", "until=0.7"))
    told = [said for said in caplog.messages if " starts (run " in said]
    assert told[0].startswith("teacher starts (run 1 of 4); it writes ") and told[0].endswith("teacher/console.log")
    assert told[9].partition(" starts ")[2].startswith("(run 10 of 10)")
    assert told[10].partition(" starts ")[2].startswith("(run 11 of 12)")
    caplog.clear()
    compare(study(MORE, "max_seeds=4", "until=0.7"))
    assert "teacher is finished already (run 1 of 4)" in caplog.messages


def test_narrow_intervals_end_it(study, machine):
    numbers = report(compare(study(MORE, "until=12")))
    assert [len(row["runs"]) for row in numbers["rows"]] == [1, 3, 3, 3]
    assert numbers["end"] == "Every interval reaches at most 12 to either side of its mean."


def test_a_budget_that_has_no_room_for_a_seed_ends_it(study, machine):
    numbers = report(compare(study(MORE, "budget=110m")))
    assert [len(row["runs"]) for row in numbers["rows"]] == [1, 3, 3, 3]
    assert numbers["end"].startswith("The budget of 1.8 h has no room for another seed: 1.7 h are spent, the next one")
    machine.trained.clear()
    assert report(compare(study(MORE, "budget=110m"))) == numbers
    assert machine.trained == []


def test_two_jobs_have_twice_the_time(study, machine):
    numbers = report(compare(study(MORE, "budget=1h", "jobs=2")))
    assert [len(row["runs"]) for row in numbers["rows"]] == [1, 4, 3, 4]


def test_a_study_that_broke_off_goes_on_where_it_was_and_ends_the_same(study, machine, tmp_path):
    whole = report(compare(study(MORE, "budget=130m", f"output={tmp_path / 'whole'}")))
    machine.trained.clear()
    machine.broken = ("fine_grained-2",)
    with pytest.raises(TrainingError, match="1 of 3 runs failed: fine_grained-2"):
        compare(study(MORE, "budget=130m"))
    before, machine.broken = list(machine.trained), ()
    assert report(compare(study(MORE, "budget=130m"))) == whole
    assert machine.trained[len(before)] == "fine_grained-2"
    assert len(machine.trained) == len(set(machine.trained))

"""Searches for a method: what is asked, what fits, the halving, who takes which pilot, and what is advised."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from functools import cache

import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.models import build_detector
from ppkd.study.recommend import recommend as module
from ppkd.study.recommend.candidates import find_candidates, named
from ppkd.study.recommend.journal import Journal
from ppkd.study.recommend.pilots import Pilots
from ppkd.study.recommend.plan import ALONE, Plan, confirmation_cost, make_plan, rungs_of, search_cost
from ppkd.study.recommend.probe import Probe
from ppkd.study.recommend.question import Question, find_recipes, find_teacher
from ppkd.study.recommend.recommend import recommend
from ppkd.study.recommend.search import search
from ppkd.study.recommend.shorten import shortened, shortened_slim
from ppkd.study.runs import Run
from ppkd.utils.errors import ConfigError, TrainingError
from ppkd.utils.serialization import write_weights

STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
TEACHER = "configs/shapes/yolov3_mobilenet_v1_x0.5_160_shapes.yml"
SLIM = "slim/distill/yolov3_l2.yml"


@pytest.fixture(autouse=True)
def _at_root(root, monkeypatch):
    monkeypatch.chdir(root)


# --- the question


def test_a_teacher_is_a_file_with_weights_a_run_or_a_slim_file(tmp_path):
    assert find_teacher(TEACHER, "w").weights == "w"
    with pytest.raises(ConfigError, match="give --teacher_weights too, or name the folder of its run"):
        find_teacher(TEACHER, None)
    of_slim = find_teacher(SLIM, "w")
    assert (of_slim.weights, of_slim.slim) == ("w", SLIM)
    assert load_config(of_slim.config)["architecture"] == "YOLOv3"
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yml").write_text("architecture: YOLOv3\n")
    with pytest.raises(ConfigError, match="has no complete checkpoint yet"):
        find_teacher(str(run), None)
    (run / "model_final.pdparams").touch()
    assert find_teacher(str(run), None).config == str(run / "config.yml")
    several = tmp_path / "several.yml"
    several.write_text("slim: Distill\nteachers: {a: {}, b: {}}\n")
    with pytest.raises(ConfigError, match="it has the teachers a, b; name one by --teacher"):
        find_teacher(str(several), None)


def test_recipes_are_files_or_folders_and_the_slim_file_that_named_the_teacher(tmp_path):
    assert find_recipes(["slim/distill"], SLIM).count(SLIM) == 1
    assert find_recipes([SLIM], "mine.yml") == (SLIM, "mine.yml")
    with pytest.raises(ConfigError, match="there is no slim file"):
        find_recipes([str(tmp_path)], None)
    assert named(["a/fgd.yml", "b/fgd.yml", "b/alone.yml"]) == {
        "a/fgd.yml": "fgd",
        "b/fgd.yml": "b_fgd",
        "b/alone.yml": "b_alone",
    }


def test_what_does_not_fit_says_why_and_the_rest_learns_from_the_teacher(tmp_path):
    twin = tmp_path / "twin.yml"
    twin.write_text((module_root() / SLIM).read_text())
    recipes = (SLIM, "slim/distill/ld.yml", str(twin), "missing.yml")
    question = Question(STUDENT, (), TEACHER, "weights", recipes, 60.0)
    found = find_candidates(question, load_config(STUDENT))
    assert list(found.fitting) == ["yolov3_l2"]
    assert found.fitting["yolov3_l2"]["teacher"].to_dict() == {"config": TEACHER, "weights": "weights"}
    assert found.refused["ld"].startswith("LD consumes ['box_dist'], but YOLOv3 records")
    assert found.refused["twin"] == "it says the same as yolov3_l2"
    assert "missing.yml does not exist" in found.refused["missing"]


def module_root():
    from ppkd.utils.shipped import home

    return home()


# --- shorter schedules


def test_a_schedule_is_shortened_in_proportion():
    cfg = load_config("configs/shapes/ppyoloe_plus_crn_160_shapes.yml", ["epoch=16"])
    options = dict(text.split("=") for text in shortened(cfg, 4))
    assert options == {
        "LearningRate.schedulers.0.max_epochs": str(round(cfg.at("LearningRate.schedulers.0.max_epochs") / 4)),
        "LearningRate.schedulers.1.steps": "12",
        "PPYOLOEHead.static_assigner_epoch": "1",
    }
    short = load_config("configs/shapes/ppyoloe_plus_crn_160_shapes.yml", [f"{k}={v}" for k, v in options.items()])
    assert short.at("LearningRate.schedulers.1.steps") == 12
    coco = load_config("configs/retinanet/retinanet_r50_fpn_1x_coco.yml")
    assert "LearningRate.schedulers.0.milestones=[4, 6]" in shortened(coco, 6)


def test_a_slim_file_is_shortened_with_it():
    slim = load_config("slim/distill/global_knowledge_retinanet.yml")
    assert shortened_slim(slim, 0.25).at("losses.gk.fade_epochs") == 6
    assert shortened_slim(slim, 0.25)["teacher"].to_dict() == slim["teacher"].to_dict()
    assert shortened_slim(slim, 1) is slim


# --- the plan


def probes(count, seconds=1.0):
    shares = {f"m{number}": 0.5 * 10**number for number in range(count)}
    return {ALONE: Probe(seconds, 10, 2)} | {
        name: Probe(2 * seconds, 10, 2, share, 0.1) for name, share in shares.items()
    }


def whole(chosen, pilot, confirmed):
    return search_cost(chosen, pilot) + confirmation_cost(chosen, confirmed, 2)


def test_the_confirmation_is_as_long_as_the_budget_allows_and_then_the_pilots():
    plan = make_plan(probes(4), 16, 10_000)
    assert (plan.rungs, plan.confirmed, plan.left_out) == ((4, 8, 16), 16, ())
    assert plan.methods == ("m0", "m1", "m2", "m3")
    budget = whole(probes(4), 7, 16) + 1
    assert (make_plan(probes(4), 16, budget).rungs[-1], make_plan(probes(4), 16, budget).confirmed) == (7, 16)
    budget = whole(probes(4), 4, 10) + 1
    assert (make_plan(probes(4), 16, budget).rungs[-1], make_plan(probes(4), 16, budget).confirmed) == (4, 10)


def test_what_the_budget_has_no_time_for_is_what_is_least_usual():
    plan = make_plan(probes(6), 16, search_cost(probes(3), 4) + confirmation_cost(probes(3), 4, 1) + 1)
    assert plan.rungs[-1] == 4
    assert plan.methods == ("m0", "m1", "m2")
    assert (plan.left_out, plan.finalists) == (("m3", "m4", "m5"), 1)
    with pytest.raises(ConfigError, match="a budget of 60 s is too short: 4 of the 16 epochs for one candidate"):
        make_plan(probes(6), 16, 60)


def test_short_schedules_have_fewer_rungs():
    assert [rungs_of(length) for length in (1, 2, 4, 9)] == [(1,), (1, 2), (1, 2, 4), (2, 4, 9)]


# --- the search

PLAN = Plan(("a", "b", "c", "d", "e"), (2, 4, 8), 8, 2)
GOOD = {ALONE: 20.0, "a": 21.0, "b": 25.0, "c": 19.0, "d": 24.0, "e": 10.0}


class Trainer:
    """Pilots whose figure is known: it grows with the epochs."""

    def __init__(self, figures=GOOD, stop_at=None):
        self.figures, self.stop_at, self.trained = figures, stop_at, []

    def __call__(self, pilot):
        if pilot == self.stop_at:
            raise KeyboardInterrupt
        self.trained.append(pilot)
        if self.figures[pilot[0]] is None:
            raise TrainingError("it diverged")
        return self.figures[pilot[0]] + pilot[1]


def never():
    return False


def test_the_better_half_goes_on_and_the_student_alone_in_any_case(tmp_path):
    train = Trainer()
    found = search(PLAN, Journal(tmp_path), train, never)
    assert train.trained == [
        *((name, 2) for name in (ALONE, "a", "b", "c", "d", "e")),
        *((name, 4) for name in (ALONE, "b", "d", "a")),
        *((name, 8) for name in (ALONE, "b", "d")),
    ]
    assert found.finalists == ("b", "d")
    assert found.values["b", 8] == 33.0


def test_where_nothing_ends_above_the_student_there_is_no_finalist(tmp_path):
    assert search(PLAN, Journal(tmp_path), Trainer({**GOOD, ALONE: 25.0}), never).finalists == ()


def test_a_candidate_that_fails_is_out_and_the_student_must_not(tmp_path):
    found = search(PLAN, Journal(tmp_path / "1"), Trainer({**GOOD, "b": None}), never)
    assert found.failed == {"b": "it diverged"}
    assert found.finalists == ("d", "a")
    with pytest.raises(TrainingError, match="the student cannot be trained alone: it diverged"):
        search(PLAN, Journal(tmp_path / "2"), Trainer({**GOOD, ALONE: None}), never)
    assert search(PLAN, Journal(tmp_path / "2"), Trainer(), never).finalists == ("b", "d")


def test_a_search_that_broke_off_goes_on_and_ends_the_same(tmp_path):
    first = Trainer(stop_at=("d", 4))
    with pytest.raises(KeyboardInterrupt):
        search(PLAN, Journal(tmp_path), first, never)
    second = Trainer()
    assert search(PLAN, Journal(tmp_path), second, never).finalists == ("b", "d")
    assert second.trained[:2] == [("a", 4), ("d", 4)]
    assert len({*first.trained, *second.trained}) == len(first.trained) + len(second.trained) == 13


def test_no_rung_is_begun_when_it_is_late_and_a_finished_one_is_taken(tmp_path):
    train = Trainer()
    found = search(PLAN, Journal(tmp_path), train, lambda: len(train.trained) > 6)
    assert max(epochs for _, epochs in train.trained) == 4
    assert found.finalists == ("b", "d")
    search(PLAN, Journal(tmp_path), train, never)
    assert ("b", 8) in search(PLAN, Journal(tmp_path), train, lambda: True).values


def test_two_processes_share_the_pilots_and_one_that_was_killed_leaves_its_own(tmp_path):
    """A pilot is another process's while that lives, whatever the journal says of it afterwards."""
    here, there = Journal(tmp_path), Journal(tmp_path)
    here.add([("a", 2), ("b", 2)])
    there.add([("b", 2), ("a", 2)])
    taken, other = here.take(), there.take()
    assert (taken.pilot, other.pilot) == (("a", 2), ("b", 2))
    assert here.take() is None
    there.finish(other, 3.0)
    assert here.values() == {("b", 2): 3.0}
    fcntl.flock(taken.claim, fcntl.LOCK_UN)
    again = there.take()
    assert again.pilot == ("a", 2)
    there.finish(again, 4.0)
    assert here.values() == {("a", 2): 4.0, ("b", 2): 3.0}


WORKER = """
import sys, time
from pathlib import Path
from ppkd.study.recommend import search as module
from ppkd.study.recommend.journal import Journal
from ppkd.study.recommend.pilots import Pilots
from ppkd.study.recommend.plan import Plan
module.WAIT_SECONDS = 0.05
folder = Path(sys.argv[1])
def train(pilot):
    with (folder / "trained").open("a") as file:
        file.write(f"{pilot}\\n")
    time.sleep(0.05)
    return {"alone": 20.0, "a": 21.0, "b": 25.0, "c": 19.0, "d": 24.0}[pilot[0]]
found = module.search(Plan(("a", "b", "c", "d"), (2, 4), 4, 2), Journal(folder), train, lambda: False)
print(found.finalists)
"""


@pytest.mark.slow
def test_processes_at_once_find_the_same_and_train_nothing_twice(tmp_path, root):
    command = [sys.executable, "-c", WORKER, str(tmp_path)]
    both = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == ["('b', 'd')"] * 2
    trained = (tmp_path / "trained").read_text().splitlines()
    assert len(trained) == len(set(trained)) == 8


# --- the whole, with trainings that write their figures at once


PROBE = Probe(0.1, 10, 1, 0.5, 0.2, ("its gradient is 99 times the task's",))


@cache
def fitting(question):
    """The real candidates of a question, found once."""
    return find_candidates(question, load_config(STUDENT))


@pytest.fixture
def machine(monkeypatch):
    """Runs write figures by slim file, seed and epochs; returns these figures, to be changed, and what was trained."""
    state = {"ap": {None: 0.30, "yolov3_l2": 0.35, "yolov3_fine_grained": 0.20}, "trained": []}

    def perform(run, folder, _=None):
        state["trained"].append(run.name)
        own = folder / run.name
        own.mkdir(parents=True)
        seed = next((int(text[5:]) for text in run.options if text.startswith("seed=")), 0)
        name = None if run.slim is None else run.slim.rpartition("/")[2].removesuffix(".yml")
        figures = {"AP": 0.5 if run.weights else state["ap"][name] + 0.01 * (seed % 3)}
        (own / "metrics.json").write_text(json.dumps(figures))
        (own / "seconds.json").write_text('{"seconds": 20}')

    monkeypatch.setattr(Run, "perform", perform)
    monkeypatch.setattr(module, "probe", lambda _, slim, __: PROBE if slim else Probe(0.1, 10, 1))
    monkeypatch.setattr(module, "judge", lambda *_: None)
    monkeypatch.setattr(module, "find_candidates", lambda question, _: fitting(question))
    for plot in ("report.plot_gains", "recommend.answer.plot_pilots"):
        monkeypatch.setattr(f"ppkd.study.{plot}", lambda *_: None)
    return state


RECIPES = (SLIM, "slim/distill/yolov3_fine_grained.yml", "slim/distill/ld.yml")
QUESTION = Question(STUDENT, ("worker_num=0",), TEACHER, "weights", RECIPES, 3600.0)


def test_the_method_that_gains_on_fresh_seeds_is_advised_with_its_slim_file(machine, tmp_path):
    advice = recommend(QUESTION, tmp_path)
    assert advice.method == "yolov3_l2"
    slim = load_config(tmp_path / "recommended.yml")
    assert slim["teacher"].to_dict() == {"config": TEACHER, "weights": "weights"}
    text = (tmp_path / "recommend.md").read_text()
    assert (
        "**Distil with `yolov3_l2`**: +5.0 points over the student alone, interval +5.0 to +5.0 (3 fresh seeds" in text
    )
    assert f"ppkd train -c {STUDENT} --slim_config {tmp_path}/recommended.yml --eval -o worker_num=0" in text
    assert f"ppkd compare -c {tmp_path}/whole.yml" in text
    assert "- `yolov3_l2`: its gradient is 99 times the task's\n" in text
    assert "| does not fit: LD consumes ['box_dist']" in text
    assert "did not end above the student alone" in text
    assert json.loads((tmp_path / "recommend.json").read_text())["method"] == "yolov3_l2"
    confirmed = load_config(tmp_path / "confirmed.yml")
    assert confirmed["seeds"] == (1, 2, 3)
    assert list(confirmed["methods"]) == ["yolov3_l2"]


def test_where_nothing_beats_the_student_it_is_trained_alone(machine, tmp_path):
    machine["ap"]["yolov3_l2"] = 0.29
    advice = recommend(QUESTION, tmp_path)
    assert advice.method is None
    text = (tmp_path / "recommend.md").read_text()
    assert "**Train the student alone**: no pilot ended above the student alone." in text
    assert f"ppkd train -c {STUDENT} --eval -o worker_num=0" in text
    assert not (tmp_path / "recommended.yml").exists()
    assert not (tmp_path / "confirmed").exists()


def test_a_pilot_that_was_lucky_is_not_advised(machine, tmp_path, monkeypatch):
    """Above the student on the seed of the pilots, on fresh seeds not: the choice itself is no evidence."""
    perform, ap = Run.perform, machine["ap"]

    def lucky_once(run, folder, _=None):
        ap["yolov3_l2"] = 0.35 if folder.name == "pilots" else 0.30
        perform(run, folder)

    monkeypatch.setattr(Run, "perform", lucky_once)
    advice = recommend(QUESTION, tmp_path)
    assert advice.method is None
    assert advice.why == "on fresh seeds no candidate was shown to beat the student alone."
    assert "confirmed: no difference shown" in (tmp_path / "recommend.md").read_text()


def test_a_finalist_that_diverges_on_a_fresh_seed_is_out(machine, tmp_path, monkeypatch):
    perform = Run.perform

    def diverge(run, folder, _=None):
        if run.name == "yolov3_l2-2" and folder.name == "confirmed":
            raise TrainingError("steps were not finite")
        perform(run, folder)

    monkeypatch.setattr(Run, "perform", diverge)
    machine["ap"]["yolov3_fine_grained"] = 0.34
    assert recommend(QUESTION, tmp_path).method == "yolov3_fine_grained"
    assert "| failed: not trained to the end on a fresh seed |" in (tmp_path / "recommend.md").read_text()


def test_where_nothing_fits_nothing_is_trained(machine, tmp_path):
    question = Question(STUDENT, (), TEACHER, "weights", ("slim/distill/ld.yml",), 600.0)
    advice = recommend(question, tmp_path)
    assert advice.method is None
    assert machine["trained"] == []
    assert "none of the slim files can be trained on this pair." in (tmp_path / "recommend.md").read_text()


def test_the_same_command_trains_nothing_again_and_another_question_is_refused(machine, tmp_path):
    advice = recommend(QUESTION, tmp_path)
    before = (tmp_path / "recommend.md").read_text()
    machine["trained"].clear()
    assert recommend(QUESTION, tmp_path).gains == advice.gains
    assert machine["trained"] == []
    assert (tmp_path / "recommend.md").read_text() == before
    with pytest.raises(ConfigError, match=r"holds another search: budget was 3600.0, is 60.0. Give another --output"):
        recommend(Question(STUDENT, ("worker_num=0",), TEACHER, "weights", RECIPES, 60.0), tmp_path)


def test_pilots_go_on_from_the_shorter_ones_on_the_schedule_of_a_whole_pilot(tmp_path):
    cfg = load_config(STUDENT)
    slims = find_candidates(QUESTION, cfg).fitting
    pilots = Pilots(QUESTION, cfg, slims, Plan(("yolov3_l2",), (2, 4), 8, 1), tmp_path)
    first, second = (pilots.run(("yolov3_l2", epochs)) for epochs in (2, 4))
    assert first.after is None
    assert second.after == "yolov3_l2-2"
    for run, epochs in ((first, 2), (second, 4)):
        assert f"epoch={epochs}" in run.options
        assert "LearningRate.schedulers.0.max_epochs=4" in run.options
        assert "seed=0" in run.options
    runs = tmp_path / "pilots"
    assert "-r" not in second.commands(runs)[0]
    (runs / "yolov3_l2-2").mkdir(parents=True)
    (runs / "yolov3_l2-2" / "model_final.pdstates").touch()
    train = second.commands(runs)[0]
    assert train[train.index("-r") + 1] == str(runs / "yolov3_l2-2")
    assert "filename=yolov3_l2-4" in train
    assert pilots.run((ALONE, 2)).slim is None


def test_the_confirmation_has_a_schedule_of_its_own(machine, tmp_path):
    recommend(QUESTION, tmp_path)
    plan = json.loads((tmp_path / "plan.json").read_text())["plan"]
    confirmed = load_config(tmp_path / "confirmed.yml")
    assert f"epoch={plan['confirmed']}" in confirmed["student_options"]
    assert f"LearningRate.schedulers.0.max_epochs={plan['confirmed']}" in confirmed["student_options"]
    assert confirmed["options"] == ("worker_num=0",)
    whole = load_config(tmp_path / "whole.yml")
    assert whole["student_options"] == ("worker_num=0",)
    assert whole["methods"]["yolov3_l2"]["slim"] == str(tmp_path / "recommended.yml")


@pytest.mark.slow
def test_a_whole_search_of_tiny_detectors(tmp_path, root):
    """With a loss that is there but weighs next to nothing, no pilot can end above the student alone."""
    recipe = tmp_path / "next_to_nothing.yml"
    recipe.write_text((root / SLIM).read_text().replace("weight: 100", "weight: 0.0000000001"))
    draw_shapes(tmp_path / "shapes", images_train=8, images_val=4, size=160, seed=0)
    write_weights(tmp_path / "teacher.pdparams", build_detector(load_config(TEACHER)).state_dict())
    data = [f"{name}Dataset.dataset_dir={tmp_path / 'shapes'}" for name in ("Train", "Eval")]
    command = [sys.executable, "tools/recommend.py", "-c", STUDENT, "--teacher", TEACHER, "--recipes", str(recipe)]
    command += ["--teacher_weights", str(tmp_path / "teacher"), "--output", str(tmp_path / "out"), "--budget", "10m"]
    command += ["-o", "epoch=1", "worker_num=0", "TrainReader.batch_size=4", *data]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    numbers = json.loads((tmp_path / "out" / "recommend.json").read_text())
    alone, candidate = numbers["candidates"]
    assert (alone["name"], candidate["name"]) == ("alone", "next_to_nothing")
    assert 0 < candidate["share"] < 1e-6
    assert -1 <= candidate["cosine"] <= 1
    assert alone["values"] == candidate["values"]
    assert set(alone["values"]) == {"1"}
    assert numbers["method"] is None
    assert "Train the student alone" in done.stdout
    assert (tmp_path / "out" / "pilots.png").stat().st_size > 1000

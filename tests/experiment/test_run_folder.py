"""The folder of a run: its name, that no run joins another one, and that it says how it was trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from ppkd.cli import train as train_command
from ppkd.config import load_config
from ppkd.config.value import Config, Mark
from ppkd.data.shapes import draw_shapes
from ppkd.engine.checkpoint_files import newest_complete
from ppkd.experiment import Experiment, TrainOptions, train
from ppkd.experiment.folder import begun, choose, claim, used
from ppkd.utils.errors import ConfigError

STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
NAME = Path(STUDENT).stem
SLIM = "slim/distill/yolov3_l2.yml"


pytestmark = pytest.mark.usefixtures("logger_of_a_test")


@pytest.fixture
def parse(root, tmp_path, monkeypatch):
    """The experiment of the student, with ``-o`` overrides, below ``tmp_path``."""
    monkeypatch.chdir(root)

    def made(*overrides, slim=None, **options):
        cfg = load_config(STUDENT, [f"save_dir={tmp_path}", *overrides])
        return Experiment.parse(cfg, None if slim is None else load_config(slim), TrainOptions(**options))

    return made


def begin(folder, trace="config.yml"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / trace).write_text("")


def same(first, second):
    """Whether two configurations are equal in values, tags and types."""
    if isinstance(first, Config) and isinstance(second, Config):
        keys = first.keys() == second.keys() and first.tagged == second.tagged
        return keys and all(same(first[key], second[key]) for key in first)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return type(first) is type(second) and first == second


def test_the_name_is_the_files_unless_it_is_set(parse, tmp_path):
    assert parse().folder == tmp_path / NAME
    assert parse(slim=SLIM).folder == tmp_path / f"{NAME}_yolov3_l2"
    assert parse("filename=mine", slim=SLIM).folder == tmp_path / "mine"


@pytest.mark.parametrize("trace", ["config.yml", "results.csv", "3.pdparams", "interrupted.pdstates"])
def test_a_used_folder_is_numbered_and_one_that_was_named_is_refused(parse, tmp_path, trace):
    begin(tmp_path / NAME, trace)
    begin(tmp_path / f"{NAME}_2", trace)
    folder = choose(parse())
    assert folder.path == tmp_path / f"{NAME}_3"
    assert f"{tmp_path / NAME} has another run, so this one goes to {folder.path} (go on with it by -r" in folder.remark
    begin(tmp_path / "mine", trace)
    with pytest.raises(ConfigError, match=r"mine has another run: .*-r .*mine.*--overwrite.*-o filename="):
        choose(parse("filename=mine"))


def test_a_log_alone_a_dry_run_and_an_overwrite_take_the_folder(parse, tmp_path):
    begin(tmp_path / NAME, "train.log")
    assert choose(parse()).path == tmp_path / NAME
    begin(tmp_path / NAME)
    for options in ({"dry_run": True}, {"overwrite": True}):
        assert choose(parse(**options)).path == tmp_path / NAME
        assert choose(parse("filename=mine", **options)).path == tmp_path / "mine"


def test_a_resumed_run_goes_on_where_it_was_unless_named(parse, tmp_path):
    begin(tmp_path / f"{NAME}_2", "3.pdparams")
    for resume in (tmp_path / f"{NAME}_2", tmp_path / f"{NAME}_2" / "3", tmp_path / f"{NAME}_2" / "3.pdparams"):
        assert choose(parse(resume=resume)).path == tmp_path / f"{NAME}_2"
        assert choose(parse("filename=mine", resume=resume)).path == tmp_path / "mine"
    assert choose(parse(resume=tmp_path / "absent" / "3")).path == tmp_path / NAME


def test_overwriting_removes_what_the_run_before_left_and_nothing_else(parse, tmp_path):
    for trace in ("best_model.pdparams", "results.csv", "slim.yml", "train.log", "notes.txt"):
        begin(tmp_path / NAME, trace)
    claim(parse(overwrite=True))
    assert {file.name for file in (tmp_path / NAME).iterdir()} == {"config.yml", "notes.txt", "train.log"}


def test_of_two_runs_that_chose_the_same_folder_the_second_is_told(parse, tmp_path):
    first, second = parse(), parse()
    assert choose(first).path == choose(second).path
    claim(first)
    with pytest.raises(ConfigError, match="another run began there meanwhile"):
        claim(second)


def test_what_is_written_loads_again_with_its_origins(parse, tmp_path):
    experiment = parse("epoch=3", "TrainReader.batch_size=5", slim=SLIM, enable_ce=True)
    claim(experiment)
    folder = tmp_path / f"{NAME}_yolov3_l2"
    assert same(load_config(folder / "config.yml"), experiment.config)
    assert same(load_config(folder / "slim.yml"), load_config(SLIM))
    text = (folder / "config.yml").read_text()
    for line in (
        "epoch: 3  # -o",
        "  batch_size: 5  # -o",
        "  shuffle: false  # --enable_ce",
        f"filename: {folder.name}  # the names of the files",
    ):
        assert f"\n{line}\n" in text, line
    architecture = load_config(STUDENT).mark("architecture")
    assert f"\narchitecture: YOLOv3  # {architecture}\n" in text and Path(architecture.file).is_file()


def test_another_place_is_told_in_the_configuration(parse, tmp_path):
    experiment = parse().at(tmp_path / "other" / "x_2")
    assert experiment.folder == tmp_path / "other" / "x_2"
    assert experiment.config["filename"] == experiment.runtime.filename == "x_2"
    assert experiment.config.mark("filename") == Mark("the run's folder")


def test_a_run_is_resumed_by_its_folder_alone(parse, tmp_path, monkeypatch):
    """With its own files and its own place, wherever that is now; evaluated as it was; ``-o`` still wins."""
    seen = []
    monkeypatch.setattr("ppkd.experiment.train", lambda *given: seen.append(given))
    experiment = parse("filename=mine", slim=SLIM)
    claim(experiment)
    folder = experiment.folder.rename(tmp_path / "moved: here")
    parser = train_command.parser()
    train_command.main(parser.parse_args(["-r", str(folder), "-o", "epoch=77"]))
    (folder / "metrics.json").write_text("{}")
    train_command.main(parser.parse_args(["--resume", str(folder / "3.pdparams")]))
    (cfg, slim, options), (again, _, evaluated) = seen
    assert (cfg["save_dir"], cfg["filename"], cfg["epoch"]) == (str(tmp_path), "moved: here", 77)
    assert slim["slim"] == "Distill" and again["filename"] == "moved: here"
    assert (options.resume, options.evaluate, evaluated.evaluate) == (str(folder), False, True)
    assert choose(Experiment.parse(cfg, slim, options)).path == folder
    assert begun(folder).slim == folder / "slim.yml"


def test_what_is_no_run_needs_a_configuration(tmp_path):
    parser = train_command.parser()
    with pytest.raises(ConfigError, match=r"which configuration\? Write -c CONFIG, or -r RUN to go on with a run"):
        train_command.main(parser.parse_args([]))
    with pytest.raises(ConfigError, match=r"has no config\.yml, so it is no run's folder: say -c CONFIG too"):
        train_command.main(parser.parse_args(["-r", str(tmp_path)]))


@pytest.mark.parametrize(
    ("override", "options", "message"),
    [
        (
            "best_by=ap50",
            {"evaluate": True},
            r"best_by is ap50, .* metric COCO; did you mean 'AP50'\?; there are AP, AP50",
        ),
        ("patience=3", {}, "patience counts evaluations, and this run makes none: write --eval"),
        ("patience=0", {"evaluate": True}, "patience is 0, expected at least 1"),
    ],
)
def test_when_to_end_is_checked_before_training(root, tmp_path, monkeypatch, override, options, message):
    monkeypatch.chdir(root)
    shapes = draw_shapes(tmp_path / "shapes", images_train=2, images_val=2, size=64, seed=1)
    data = [f"{key}Dataset.dataset_dir={shapes}" for key in ("Train", "Eval")]
    cfg = load_config(STUDENT, [f"save_dir={tmp_path}", *data, "TrainReader.batch_size=2", override])
    with pytest.raises(ConfigError, match=message):
        train(cfg, options=TrainOptions(**options))


@pytest.mark.slow
def test_two_runs_and_a_resumed_one_keep_their_own_folders(root, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    shapes = draw_shapes(tmp_path / "shapes", images_train=4, images_val=2, size=64, seed=1)
    overrides = [f"save_dir={tmp_path}", f"TrainDataset.dataset_dir={shapes}", "worker_num=0", "log_iter=1"]
    overrides += ["TrainReader.batch_size=2", "TrainReader.sample_transforms.2.Resize.target_size=[64,64]"]
    cfg = load_config(STUDENT, [*overrides, "epoch=1"])
    first, second = train(cfg), train(cfg)
    assert (first, second) == (tmp_path / NAME, tmp_path / f"{NAME}_2")
    assert "has another run, so this one goes to" in (second / "train.log").read_text()
    before = (first / "model_final.pdparams").read_bytes()
    longer = load_config(STUDENT, [*overrides, "epoch=2", "snapshot_epoch=1"])
    assert train(longer, options=TrainOptions(resume=second)) == second
    assert (first / "model_final.pdparams").read_bytes() == before
    assert load_config(second / "config.yml")["epoch"] == 2
    assert train(cfg, options=TrainOptions(overwrite=True)) == first
    assert used(first) and newest_complete(first) == first / "model_final"
    train_command.main(train_command.parser().parse_args(["-r", str(second), "-o", "epoch=3"]))
    assert len((second / "results.csv").read_text().splitlines()) == 4
    assert load_config(second / "config.yml")["epoch"] == 3

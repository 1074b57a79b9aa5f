"""Whole runs of a real detector on drawn images."""

from __future__ import annotations

import csv
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import paddle
import pytest
from commands import call
from test_engine_resume import assert_same, everything

from ppkd.config import load_config, runtime
from ppkd.data.shapes import draw_shapes
from ppkd.experiment import Experiment, TrainOptions, distill, evaluate_config, train
from ppkd.experiment.assembly import assemble
from ppkd.experiment.parts import log_size
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError, DataError, PPKDError, WeightsError
from ppkd.utils.logger import setup_logger

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
SLIM = "slim/distill/yolov3_l2.yml"
READERS = ("TrainReader.sample_transforms.2", "EvalReader.sample_transforms.1")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    draw_shapes(folder, images_train=12, images_val=4, size=64, seed=1)
    return folder


@pytest.fixture
def settings(root, shapes, tmp_path, monkeypatch):
    """``-o`` of a run of seconds; the current folder is the clone."""
    monkeypatch.chdir(root)
    data = [f"{key}.dataset_dir={shapes}" for key in ("TrainDataset", "EvalDataset")]
    sizes = [f"{reader}.Resize.target_size=[64,64]" for reader in READERS]
    run = [
        "epoch=2",
        "snapshot_epoch=1",
        "log_iter=1",
        "worker_num=0",
        "TrainReader.batch_size=4",
        f"save_dir={tmp_path}",
    ]
    return [*data, *sizes, *run]


def rows(folder):
    with (folder / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def teacher(root, shapes, tmp_path_factory):
    """Overrides that name a teacher: the same detector after one epoch."""
    here = Path.cwd()
    os.chdir(root)
    try:
        save = tmp_path_factory.mktemp("teacher")
        sizes = [f"{READERS[0]}.Resize.target_size=[64,64]"]
        data = [f"TrainDataset.dataset_dir={shapes}", f"save_dir={save}", "filename=teacher", "epoch=1", "worker_num=0"]
        folder = train(load_config(CONFIG, [*sizes, *data, "TrainReader.batch_size=4"]))
    finally:
        os.chdir(here)
    return [f"slim.teacher.config={CONFIG}", f"slim.teacher.weights={folder / 'model_final'}"]


@pytest.mark.slow
def test_training_evaluates_and_evaluation_of_the_file_gives_the_same_figures(settings, tmp_path):
    cfg = load_config(CONFIG, [*settings, "use_ema=true", "print_params=true", "print_flops=true"])
    folder = train(cfg, options=TrainOptions(evaluate=True))
    assert folder == tmp_path / "yolov3_mobilenet_v1_x0.25_160_shapes"
    figures = evaluate_config(cfg, str(folder / "model_final"), output_dir=tmp_path / "evaluation")
    last = rows(folder)[-1]
    assert {name: float(last[name]) for name in figures} == pytest.approx(figures, rel=1e-5)
    again = evaluate_config(cfg, output_dir=tmp_path / "evaluation", json_eval=True)
    assert again == pytest.approx(figures, abs=1e-3)
    log = (folder / "train.log").read_text()
    for line in (
        "Environment: {'OMP_NUM_THREADS'",
        "tf32 on GPUs: False",
        "TrainDataset: 12 images",
        "Model Params : ",
        "Model FLOPs : ",
        "Seed: 0",
    ):
        assert line in log
    assert log.count("Best test bbox ap is ") == 2


@pytest.mark.slow
def test_enable_ce_repeats_number_by_number_in_the_files_order(settings):
    configs = [load_config(CONFIG, [*settings, "epoch=1", f"filename={name}"]) for name in ("first", "second")]
    first, second = (rows(train(cfg, options=TrainOptions(enable_ce=True))) for cfg in configs)
    for row in first + second:
        row.pop("batch_cost")
    assert first == second
    trainer = assemble(Experiment.parse(configs[0], options=TrainOptions(enable_ce=True))).trainer
    seen = [im_id for batch in trainer.loader for im_id in batch["im_id"].flatten().tolist()]
    assert seen == [annotation.im_id for annotation in trainer.loader.dataset.annotations]


def on_cpu_only():
    if paddle.is_compiled_with_cuda():
        pytest.skip("this Paddle can use a GPU")


def test_what_needs_a_gpu_says_in_one_line_that_it_goes_without(settings):
    on_cpu_only()
    cfg = load_config(CONFIG, [*settings, "epoch=1", "use_gpu=true"])
    log = (train(cfg, options=TrainOptions(amp=True)) / "train.log").read_text()
    assert log.count("running on the CPU") == 1
    assert log.count("--amp does nothing on a CPU") == 1 and "Mixed precision" not in log


def test_casting_on_a_cpu_really_does_nothing():
    """The reason for float32; when this fails, Paddle has learnt it and ``--amp`` should use it."""
    on_cpu_only()
    with paddle.amp.auto_cast(level="O1", dtype="bfloat16"):
        assert paddle.nn.Linear(2, 2)(paddle.ones([1, 2])).dtype == paddle.float32


def test_another_number_of_classes_is_refused_naming_both(settings):
    with pytest.raises(ConfigError, match=r"num_classes is 7, but TrainDataset \(.*\) has 4 classes: .*num_classes=4"):
        train(load_config(CONFIG, [*settings, "num_classes=7"]))
    with pytest.raises(PPKDError, match=r"4 classes.*num_classes is 3|num_classes is 3.*4 classes"):
        train(load_config(CONFIG, [*settings, "num_classes=3"]))


def test_mistakes_stop_before_anything_heavy_and_stand_in_the_log(settings, tmp_path):
    for override, message in (
        ("EvalReader.batch_sizes=3", "batch_sizes"),
        ("OptimizerBuilder.optimizer.type=Adamm", "did you mean .Adam"),
        ("epoch=0", "epoch is missing"),
        ("TrainDataset.dataset_dir=/nowhere", "nowhere"),
    ):
        with pytest.raises(PPKDError, match=message):
            train(load_config(CONFIG, [*settings, override]))
    assert "ERROR: " in (tmp_path / "yolov3_mobilenet_v1_x0.25_160_shapes" / "train.log").read_text()


def test_visualdl_is_asked_for_by_name_when_it_is_missing(settings, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "visualdl", None)
    with pytest.raises(ConfigError, match="pip install visualdl"):
        train(load_config(CONFIG, settings), options=TrainOptions(use_vdl=True))


@pytest.mark.slow
def test_visualdl_gets_losses_and_rates_and_the_profiler_its_trace(settings, monkeypatch, tmp_path):
    written = []
    writer = SimpleNamespace(add_scalar=lambda *scalar: written.append(scalar), close=lambda: written.append("closed"))
    monkeypatch.setitem(sys.modules, "visualdl", SimpleNamespace(LogWriter=lambda folder: writer))
    trace = tmp_path / "model.profile"
    options = f"batch_range=[1,3];profile_path={trace}"
    train(load_config(CONFIG, [*settings, "epoch=1"]), options=TrainOptions(use_vdl=True, profiler_options=options))
    names = {scalar[0] for scalar in written[:-1]}
    assert {"loss", "loss_xy", "learning_rate"} <= names
    assert [scalar[2] for scalar in written[:-1] if scalar[0] == "loss"] == [0, 1, 2]
    assert written[-1] == "closed"
    assert list(trace.glob("*.json"))


@pytest.mark.slow
def test_distillation_from_one_call_with_unlabelled_images(settings, teacher, shapes, tmp_path):
    slim = tmp_path / "slim.yml"
    slim.write_text(
        f"_BASE_: [{Path(SLIM).resolve()}]\nunlabelled_batch_size: 1\n"
        f"UnlabelledDataset: !ImageFolder {{dataset_dir: {shapes}, image_dir: val}}\n"
    )
    folder = distill(CONFIG, slim, overrides=[*settings, *teacher, "filename=kd", "epoch=1"])
    assert float(rows(folder)[0]["l2"]) > 0
    assert "UnlabelledDataset: 4 images" in (folder / "train.log").read_text()


def tool(name, *arguments):
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, f"tools/{name}", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output[-3000:]
    return output


@pytest.mark.slow
def test_sigterm_in_a_distillation_and_the_printed_command_end_with_the_same_bits(settings, teacher, tmp_path):
    """Two worker processes read; the run is stopped in the middle of an epoch."""
    flags = ["-c", CONFIG, "--slim_config", SLIM, "-o", *settings, *teacher, "worker_num=2", "TrainReader.batch_size=2"]
    whole = tool("train.py", *flags, "filename=whole")
    finish(whole)
    parts = tool("train.py", *flags, "filename=parts")
    log = tmp_path / "parts" / "train.log"
    deadline = time.monotonic() + 120
    while not (log.is_file() and "Epoch: [1] [0/6]" in log.read_text()):
        assert time.monotonic() < deadline and parts.poll() is None
        time.sleep(0.01)
    parts.send_signal(signal.SIGTERM)
    output, _ = parts.communicate(timeout=120)
    assert parts.returncode == 143, output
    command = shlex.split(re.findall(r"Continue with: (.*)", output)[-1])
    assert command[1:] == ["tools/train.py", *flags, "filename=parts", "-r", str(tmp_path / "parts" / "interrupted")]
    finish(
        subprocess.Popen([sys.executable, *command[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    )
    first, second = everything(tmp_path / "whole"), everything(tmp_path / "parts")
    assert_same(first, second)


@pytest.mark.slow
def test_evaluation_is_the_same_with_and_without_the_slim_file(root, settings, teacher, tmp_path):
    student = teacher[1].removeprefix("slim.teacher.weights=")
    flags = ["-c", CONFIG, "--output_eval", str(tmp_path)]
    outputs = []
    for more in (["-o", f"weights={student}"], ["--slim_config", SLIM, "-o", f"weights={student}.pdparams"]):
        code, said = call(root / "tools/eval.py", *flags, *more, *settings, folder=root)
        assert code == 0, said
        outputs.append(said)
    figures = [re.findall(r"\) @\[.*= -?\d\.\d+", output) for output in outputs]
    assert figures[0] == figures[1] and len(figures[0]) == 12


@pytest.mark.parametrize(
    ("shape", "sides"),
    [("[3, 64, 96]", "64, 96"), ("[1, 3, 64, 96]", "64, 96"), ("[3, null, null]", "640, 640")],
)
def test_flops_are_those_of_the_exported_input(settings, shape, sides, capsys):
    cfg = load_config(CONFIG, [*settings, "print_flops=true", f"TestReader.inputs_def.image_shape={shape}"])
    setup_logger()
    log_size(cfg, runtime(cfg), build_detector(cfg))
    assert f"(image shape is [3, {sides}])" in capsys.readouterr().out


def test_what_has_no_effect_is_noted_once(settings, tmp_path, capsys):
    setup_logger()
    with pytest.raises(WeightsError):
        evaluate_config(load_config(CONFIG, [*settings, "use_xpu=false"]), "nowhere", output_dir=tmp_path)
    assert capsys.readouterr().out.count("without effect here: use_xpu") == 1


def test_missing_result_file_is_named(settings, tmp_path):
    with pytest.raises(DataError, match=r"bbox\.json: cannot be read for --json_eval"):
        evaluate_config(load_config(CONFIG, settings), output_dir=tmp_path / "none", json_eval=True)

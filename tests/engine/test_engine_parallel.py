"""Two processes on the loopback, by the real tools: the same parameters and figures, and ends that lose nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import paddle
import pytest
from parallel_case import ROOT, YOLO, finish, settings, start, write_frozen
from test_engine_resume import assert_same, everything

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.engine import environment
from ppkd.engine.checkpoint_files import resolve
from ppkd.models import build_detector
from ppkd.utils.serialization import read_weights, write_weights

RTOL, ATOL = 1e-3, 1e-5
"""Float32 sums in another order, through six updates; without shared normalisers the parameters differ by 1e-2."""


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    draw_shapes(folder, images_train=12, images_val=5, size=64, seed=1)
    return folder


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """Flags of a GFL taught by one of other random weights, through losses with normalisers of their own."""
    folder = tmp_path_factory.mktemp("distilled")
    config = write_frozen(folder, "gfl")
    paddle.seed(5)
    weights = build_detector(load_config(config)).state_dict()
    # The first distributions of a detector are nearly uniform, and so alike that LD would be nothing.
    reg = next(value for name, value in weights.items() if name.endswith("gfl_head_reg.weight"))
    reg.set_value(100 * reg)
    write_weights(folder / "teacher.pdparams", weights)
    (folder / "slim.yml").write_text(
        f"slim: Distill\nteacher: {{config: {config}, weights: {folder / 'teacher.pdparams'}}}\n"
        "losses:\n  kd: {type: ClassKD, weight: 1}\n  imitate: {type: FeatureImitation, weight: 0.1}\n"
        "  ld: {type: LD, weight: 5}\n"
    )
    return ["-c", config, "--slim_config", str(folder / "slim.yml")]


@pytest.mark.slow
def test_two_processes_with_accumulated_batches_train_like_one_with_a_large_batch(distilled, shapes, tmp_path):
    """By fleet, each update from four batches of one image."""

    def flags(name, batch_size, *more):
        run = settings(shapes, tmp_path, batch_size, "epoch=1", f"filename={name}", *more)
        return ["--eval", *distilled, *run]

    alone = start("train.py", *flags("alone", 4))
    parts = ["--fleet", *flags("parts", 1, "gradient_accumulation_steps=2")]
    output = finish(start("train.py", *parts, log_dir=tmp_path / "log"))
    finish(alone)
    assert output.count("norm_type: sync_bn needs GPUs") == 1 and "Epoch: [0] [2/3]" in output
    first, second = (read_weights(tmp_path / name / "model_final") for name in ("alone", "parts"))
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, rtol=RTOL, atol=ATOL, err_msg=key)
    rows = [
        (tmp_path / name / "results.csv").read_text().splitlines()[-1].split(",")[:3] for name in ("alone", "parts")
    ]
    assert rows[0] == rows[1] == ["0", "3", "0.016666667"]
    alone, parts = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("alone", "parts"))
    assert parts == pytest.approx(alone, abs=2e-3)


@pytest.mark.slow
def test_an_evaluation_in_two_processes_is_that_in_one(shapes, tmp_path):
    paddle.seed(5)
    weights = tmp_path / "some.pdparams"
    write_weights(weights, build_detector(load_config(ROOT / YOLO)).state_dict())
    options = settings(shapes, tmp_path, 2, f"weights={weights}")
    outputs = []
    for name, log_dir in (("one", None), ("two", tmp_path / "log")):
        outputs.append(
            finish(start("eval.py", "-c", YOLO, "--output_eval", str(tmp_path / name), *options, log_dir=log_dir))
        )
        assert "Total sample number: 5" in outputs[-1]
    for file in ("bbox.json", "metrics.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert len({entry["image_id"] for entry in json.loads((tmp_path / "two" / "bbox.json").read_text())}) == 5


def wait_for(file: Path, text: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not (file.is_file() and text in file.read_text()):
        assert time.monotonic() < deadline and process.poll() is None, process.communicate(timeout=60)[0][-3000:]
        time.sleep(0.01)


def second_process(launcher: subprocess.Popen[str]) -> int:
    """The id of the second process of ``launcher``, whose number stands in its environment."""
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True, check=True
    )
    for pid in map(int, listed.stdout.split()):
        if b"PADDLE_TRAINER_ID=1" in Path(f"/proc/{pid}/environ").read_bytes():
            return pid
    raise AssertionError("no second process")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_the_pair_continues_with_the_same_bits(shapes, tmp_path):
    def flags(name):
        return [
            "-c",
            YOLO,
            *settings(shapes, tmp_path, 2, "epoch=2", "snapshot_epoch=2", "use_ema=true", f"filename={name}"),
        ]

    whole = start("train.py", *flags("whole"), log_dir=tmp_path / "log1")
    finish(whole)
    parts = start("train.py", *flags("parts"), log_dir=tmp_path / "log2")
    wait_for(tmp_path / "parts" / "train.log", "Epoch: [1] [0/3]", parts)
    os.kill(second_process(parts), signal.SIGTERM)
    output, _ = parts.communicate(timeout=60)
    assert parts.returncode == 143, output[-3000:]
    command = shlex.split(re.findall(r"Continue with: (.*)", (tmp_path / "parts" / "train.log").read_text())[-1])
    assert command[1:5] == ["-m", "paddle.distributed.launch", "--nproc_per_node", "2"]
    finish(start("train.py", *command[6:], log_dir=tmp_path / "log3"))
    assert_same(everything(tmp_path / "whole"), everything(tmp_path / "parts"))


@pytest.mark.slow
def test_a_process_that_ends_takes_the_others_along_and_the_reason_and_checkpoints_stay(shapes, tmp_path):
    """Killed, which only the launcher can tell; then by an image that only the second process reads."""
    killed = ["-c", YOLO, *settings(shapes, tmp_path, 2, "epoch=90", "snapshot_epoch=1", "filename=killed")]
    run = start("train.py", *killed, log_dir=tmp_path / "log")
    wait_for(tmp_path / "killed" / "train.log", "Epoch: [2] [0/3]", run)
    os.kill(second_process(run), signal.SIGKILL)
    began = time.monotonic()
    output, _ = run.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert run.returncode != 0 and "Container failed" in output
    assert resolve(tmp_path / "killed").name in {"1", "2", "3"}

    broken = shutil.copytree(shapes, tmp_path / "broken")
    listed = json.loads((broken / "annotations" / "instances_train.json").read_text())["images"]
    for image in listed[2:4]:
        (broken / "train" / image["file_name"]).write_bytes(b"")
    config = tmp_path / "strict.yml"
    config.write_text(f"_BASE_: [{ROOT / YOLO}]\nTrainReader: {{shuffle: false, batch_size: 2}}\n")
    run = start("train.py", "-c", str(config), *settings(broken, tmp_path, 2, "epoch=90"), log_dir=tmp_path / "log2")
    run.communicate(timeout=120)
    assert run.returncode != 0
    log = (tmp_path / "strict" / "train.log").read_text()
    assert re.search(r"ERROR: \(process 1\) \d+ of the last \d+ images could not be read", log)


def test_norms_are_synchronised_on_gpus_except_frozen_ones(monkeypatch):
    def norms():
        frozen = paddle.nn.BatchNorm2D(2, use_global_stats=True)
        return paddle.nn.Sequential(paddle.nn.Sequential(paddle.nn.BatchNorm2D(2)), frozen)

    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    model = norms()
    before = {name: id(tensor) for name, tensor in model.state_dict().items()}
    made = environment.synchronise_norms(model, "sync_bn", gpu=True)
    assert [type(layer).__name__ for layer in (made[0][0], made[1])] == ["SyncBatchNorm", "BatchNorm2D"]
    assert {name: id(tensor) for name, tensor in made.state_dict().items()} == before
    for kind, gpu in (("bn", True), ("sync_bn", False)):
        assert type(environment.synchronise_norms(norms(), kind, gpu=gpu)[0][0]) is paddle.nn.BatchNorm2D

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from engine_toy import BATCHES, Distilled, Loader, make_trainer

from ppkd.engine.checkpoint_files import resolve
from ppkd.engine.hooks.base import Hook
from ppkd.engine.hooks.interrupt import continue_command
from ppkd.engine.precision import GROW_EVERY, ScaledPrecision
from ppkd.utils.class_names import class_names
from ppkd.utils.errors import TrainingError, WeightsError
from ppkd.utils.serialization import read_pickle

SCRIPT = Path(__file__).with_name("engine_toy.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}


class StopAt(Hook):
    """Saves ``middle.*`` after a given step and breaks off, as a signal does."""

    def __init__(self, step):
        self.step = step

    def after_step(self, trainer, step):
        if step.number == self.step:
            trainer.save("middle")
            raise KeyboardInterrupt


def everything(folder, name="model_final"):
    """All arrays and numbers of a checkpoint, flat, without digests of files."""
    states = read_pickle(Path(folder) / f"{name}.pdstates")
    states.pop("sha256")
    trees = {
        "weights": read_pickle(Path(folder) / f"{name}.pdparams"),
        "opt": read_pickle(Path(folder) / f"{name}.pdopt"),
    }
    return flat({**trees, **states})


def flat(tree, prefix=""):
    if isinstance(tree, dict):
        return {key: value for name, item in tree.items() for key, value in flat(item, f"{prefix}/{name}").items()}
    if isinstance(tree, (list, tuple)):
        return flat(dict(enumerate(tree)), prefix)
    return {prefix: tree}


def assert_same(first, second):
    assert set(first) == set(second)
    differing = [key for key in first if not np.array_equal(np.asarray(first[key]), np.asarray(second[key]))]
    assert not differing, differing[:5]


@pytest.mark.parametrize("kind", ["plain", "ema", "distilled", "accumulated"])
@pytest.mark.parametrize("optimizer", ["Momentum", "Adam"])
@pytest.mark.parametrize("step", [1, BATCHES + 2, 2 * BATCHES - 1])
def test_resumed_run_ends_with_the_same_bits(tmp_path, kind, optimizer, step):
    """After the second step, in the middle of an epoch, after the last step of an epoch but before its end."""
    make_trainer(tmp_path / "whole", kind=kind, optimizer=optimizer).train()
    broken = make_trainer(tmp_path / "parts", kind=kind, optimizer=optimizer, extra=[StopAt(step)])
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    resumed = make_trainer(tmp_path / "parts", kind=kind, optimizer=optimizer, seed=99)
    resumed.resume(tmp_path / "parts" / "middle")
    assert (resumed.position.epoch, resumed.position.batch) == divmod(step + 1, BATCHES) or step == 2 * BATCHES - 1
    resumed.train()
    assert_same(everything(tmp_path / "whole"), everything(tmp_path / "parts"))


def test_a_resumed_run_goes_on_with_the_loss_scale_of_float16(tmp_path, rounding):
    precision = ScaledPrecision("O1")
    precision.scale, precision._since = 256.0, GROW_EVERY - BATCHES - 3
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, precision=precision, extra=[StopAt(BATCHES - 1)]).train()
    assert read_pickle(tmp_path / "middle.pdstates")["precision"] == {"scale": 256.0, "since": GROW_EVERY - 3}
    resumed = make_trainer(tmp_path, precision=ScaledPrecision("O1"), seed=99, epochs=2)
    resumed.resume(tmp_path / "middle")
    assert resumed.update.precision.state() == {"scale": 256.0, "since": GROW_EVERY - 3}
    resumed.train()
    assert resumed.update.precision.state() == {"scale": 512.0, "since": BATCHES - 3}


def test_results_of_a_resumed_run_are_those_of_an_unbroken_one(tmp_path):
    make_trainer(tmp_path / "whole").train()
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path / "parts", extra=[StopAt(2 * BATCHES + 1)]).train()
    (tmp_path / "parts" / "results.csv").open("a").write("2,999,0,0,0,0,0\n")
    resumed = make_trainer(tmp_path / "parts", seed=99)
    resumed.resume(tmp_path / "parts" / "middle.pdparams")
    resumed.train()
    tables = [list(csv.DictReader((tmp_path / name / "results.csv").open())) for name in ("whole", "parts")]
    durations = [[float(row.pop("batch_cost")) for row in table] for table in tables]
    assert tables[0] == tables[1]
    assert [len(column) for column in durations] == [3, 3]


def toy(folder, *arguments, **options):
    command = [sys.executable, str(SCRIPT), str(folder), *arguments]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run in a process of its own that nothing broke off."""
    folder = tmp_path_factory.mktemp("whole")
    assert toy(folder, "--kind", "ema").wait(timeout=300) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_a_checkpoint_from_which_another_process_ends_with_the_same_bits(whole, tmp_path, number, code):
    parts = toy(tmp_path / "parts", "--kind", "ema", "--delay", "0.2")
    log = tmp_path / "parts" / "train.log"
    deadline = time.monotonic() + 120
    while not (log.is_file() and "Epoch: [1] [1/5]" in log.read_text()):
        assert time.monotonic() < deadline and parts.poll() is None
        time.sleep(0.02)
    parts.send_signal(number)
    output, _ = parts.communicate(timeout=60)
    assert parts.returncode == code, output
    assert "Continue with: " in output and str(tmp_path / "parts" / "interrupted") in output
    assert read_pickle(tmp_path / "parts" / "interrupted.pdstates")["position"]["batch"] > 0
    resumed = toy(tmp_path / "parts", "--kind", "ema", "--seed", "50", "--resume", str(tmp_path / "parts"))
    assert resumed.wait(timeout=120) == 0
    assert_same(everything(whole), everything(tmp_path / "parts"))


def test_a_folder_means_its_newest_complete_checkpoint(tmp_path):
    make_trainer(tmp_path, epochs=2).train()
    assert resolve(tmp_path) == tmp_path / "model_final"
    content = (tmp_path / "model_final.pdopt").read_bytes()
    (tmp_path / "model_final.pdopt").write_bytes(content[:-1] + b"x")
    assert resolve(tmp_path) == tmp_path / "0"
    with pytest.raises(WeightsError, match=r"model_final\.pdopt is not the one.*complete there: .*0"):
        resolve(tmp_path / "model_final.pdparams")


@pytest.mark.parametrize("suffix", [".pdparams", ".pdopt", ".pdstates"])
def test_a_set_with_a_missing_or_half_written_file_is_recognised(tmp_path, suffix):
    make_trainer(tmp_path, epochs=1).train()
    file = tmp_path / f"model_final{suffix}"
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(WeightsError, match="model_final"):
        resolve(tmp_path / "model_final")
    file.unlink()
    with pytest.raises(WeightsError, match=f"model_final{suffix} is missing"):
        resolve(tmp_path / "model_final")
    with pytest.raises(WeightsError, match="no complete checkpoint"):
        resolve(tmp_path)


def test_an_overwritten_checkpoint_cut_short_is_recognised(tmp_path):
    """New weights beside the old states: what stands after a kill in the middle of overwriting best_model."""
    trainer = make_trainer(tmp_path, epochs=2)
    trainer.train()
    (tmp_path / "0.pdparams").write_bytes((tmp_path / "model_final.pdparams").read_bytes())
    with pytest.raises(WeightsError, match="a save was cut short"):
        resolve(tmp_path / "0")


def test_another_teacher_is_refused(tmp_path):
    make_trainer(tmp_path, kind="distilled", epochs=1).train()
    other = make_trainer(tmp_path, model=Distilled(teacher="teacher-2"))
    with pytest.raises(TrainingError, match=r"another teacher.*teacher-1.*teacher-2"):
        other.resume(tmp_path)


def test_another_model_or_average_is_refused(tmp_path):
    make_trainer(tmp_path, kind="distilled", epochs=1).train()
    with pytest.raises(TrainingError, match="use_ema=False"):
        make_trainer(tmp_path, kind="ema").resume(tmp_path)
    with pytest.raises(WeightsError, match=r"losses\.l2"):
        make_trainer(tmp_path, kind="plain").resume(tmp_path)


def test_class_names_stand_beside_the_weights(tmp_path):
    make_trainer(tmp_path, epochs=1).train()
    assert class_names(tmp_path / "model_final.pdparams") == ("cat", "dog")
    assert class_names(tmp_path / "elsewhere") is None


def test_the_command_to_continue_is_the_present_one_with_another_checkpoint():
    argv = ["tools/train.py", "-c", "a b.yml", "-r", "old", "--eval", "-o", "epoch=3"]
    assert continue_command(Path("out/interrupted"), argv).endswith(
        "tools/train.py -c 'a b.yml' --eval -o epoch=3 -r out/interrupted"
    )


class DrawingLoader(Loader):
    """Draws from NumPy's global stream when it starts, as Paddle's loader does for its workers."""

    def __iter__(self):
        np.random.randint(10)
        yield from super().__iter__()


def test_starting_the_loader_once_more_leaves_the_random_streams_alone(tmp_path):
    make_trainer(tmp_path / "whole", loader=DrawingLoader()).train()
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path / "parts", loader=DrawingLoader(), extra=[StopAt(BATCHES + 2)]).train()
    resumed = make_trainer(tmp_path / "parts", loader=DrawingLoader(), seed=99)
    resumed.resume(tmp_path / "parts" / "middle")
    resumed.train()
    assert_same(everything(tmp_path / "whole"), everything(tmp_path / "parts"))

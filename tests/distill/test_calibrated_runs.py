"""What is measured before the first step, in real runs: it changes nothing else, and a resumed run keeps it."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from engine.parallel_case import finish, settings, start, write_frozen

import ppkd.distill
from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.engine import random_state
from ppkd.engine.hooks.base import Hook
from ppkd.experiment import Experiment
from ppkd.experiment.assembly import assemble
from ppkd.experiment.calibration import run_calibration
from ppkd.models import build_detector
from ppkd.utils.serialization import read_pickle, read_weights, write_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
LOSS = "{type: FGD, scale: rms, levels: objects, project: always, weight: {share: 0.5}}"


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw_shapes(tmp_path_factory.mktemp("shapes"), images_train=12, images_val=2, size=64, seed=3)


@pytest.fixture
def files(root, shapes, tmp_path, monkeypatch):
    """The student's overrides and the slim file; the teacher is a random detector."""
    monkeypatch.chdir(root)
    weights = tmp_path / "teacher.pdparams"
    write_weights(
        weights, {name: value.numpy() for name, value in build_detector(load_config(CONFIG)).state_dict().items()}
    )
    slim = tmp_path / "slim.yml"
    slim.write_text(f"slim: Distill\nteacher: {{config: {CONFIG}, weights: {weights}}}\nlosses:\n  kd: {LOSS}\n")
    overrides = [f"{name}Dataset.dataset_dir={shapes}" for name in ("Train", "Eval")]
    overrides += [f"save_dir={tmp_path}", "epoch=3", "worker_num=0", "TrainReader.batch_size=4"]
    overrides += ["TrainReader.sample_transforms.2.Resize.target_size=[64,64]", "preflight.evaluate=false"]
    return overrides, slim


class StopAt(Hook):
    """Breaks off after a step, with a checkpoint of its end."""

    def __init__(self, step):
        self.step = step

    def after_step(self, run, step):
        if step.number == self.step:
            run.save("middle")
            raise KeyboardInterrupt


def assembled(files, *more):
    overrides, slim = files
    return assemble(Experiment.parse(load_config(CONFIG, [*overrides, *more]), load_config(slim)))


def test_measuring_changes_nothing_but_what_is_measured(files):
    assembly = assembled(files)
    model = assembly.trainer.model
    model.eval()
    before = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    streams = random_state.capture()
    run_calibration(assembly)
    np.testing.assert_equal(random_state.capture(), streams)
    after = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    measured = {"losses.kd.wiring.rms", "losses.kd.wiring.level_weights"}
    assert measured < changed <= measured | {name for name in before if name.startswith("balance")}
    assert all(p.grad is None for p in model.parameters())
    assert model.balance.standing()["kd"].share == pytest.approx(0.5)
    assert not any(layer.training for layer in model.sublayers(include_self=True))
    assert (assembly.loader._epoch, assembly.loader._skip) == (0, 0)
    assert after["losses.kd.wiring.level_weights"].sum() == pytest.approx(
        np.count_nonzero(after["losses.kd.wiring.level_weights"])
    )


def test_batches_of_an_update_measure_like_one_large_batch(files):
    found = []
    for more in (["TrainReader.batch_size=4"], ["TrainReader.batch_size=2", "gradient_accumulation_steps=2"]):
        assembly = assembled(files, *more)
        run_calibration(assembly)
        found.append(assembly.distilled.losses["kd"].wiring)
    for name in ("rms", "level_weights"):
        np.testing.assert_allclose(*(getattr(one, name).numpy() for one in found), rtol=1e-6)


@pytest.mark.slow
def test_processes_and_accumulated_batches_measure_and_balance_like_one_large_batch(files, shapes, tmp_path):
    """Of networks without batch statistics; in sums of another order, through three updates."""
    _, slim = files
    config = write_frozen(tmp_path, "retinanet")
    paddle.seed(5)
    write_weights(tmp_path / "teacher.pdparams", build_detector(load_config(config)).state_dict())
    slim.write_text(slim.read_text().replace(CONFIG, config))

    def flags(name, batch_size, *more):
        run = settings(shapes, tmp_path, batch_size, "epoch=1", f"filename={name}", "preflight.evaluate=false", *more)
        return ["-c", config, "--slim_config", str(slim), *run]

    alone = start("train.py", *flags("alone", 4))
    output = finish(start("train.py", *flags("parts", 1, "gradient_accumulation_steps=2"), log_dir=tmp_path / "log"))
    finish(alone)
    assert "kd: weight" in output
    states = [read_pickle(tmp_path / name / "model_final.pdstates")["adapters"] for name in ("alone", "parts")]
    for name in ("losses.kd.wiring.rms", "losses.kd.wiring.level_weights", "balance.weights", "balance.cosines"):
        np.testing.assert_allclose(states[1][name], states[0][name], rtol=2e-3, atol=1e-5, err_msg=name)
    assert states[0]["balance.probes"].tolist() == states[1]["balance.probes"].tolist() == [3.0, 3.0]
    first, second = (read_weights(tmp_path / name / "model_final") for name in ("alone", "parts"))
    for key, value in first.items():
        np.testing.assert_allclose(second[key], value, rtol=1e-3, atol=1e-5, err_msg=key)


@pytest.mark.slow
def test_a_resumed_run_ends_with_the_same_bits(files, tmp_path, monkeypatch):
    overrides, slim = files

    def run(name, **options):
        options = ppkd.TrainOptions(**options)
        return ppkd.distill(CONFIG, slim, overrides=[*overrides, f"filename={name}"], options=options)

    whole = run("whole")
    with monkeypatch.context() as patch:
        patch.setattr("ppkd.experiment.assembly.build_hooks", lambda *_, **__: [StopAt(4)])
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    parts = run("parts", resume=tmp_path / "parts" / "middle")
    np.testing.assert_equal(read_weights(whole / "model_final"), read_weights(parts / "model_final"))
    states = [read_pickle(folder / "model_final.pdstates") for folder in (whole, parts)]
    np.testing.assert_equal(states[0]["adapters"], states[1]["adapters"])
    assert not np.allclose(states[0]["adapters"]["losses.kd.wiring.rms"], 1.0)
    assert not [name for name in read_weights(whole / "model_final") if "wiring" in name]

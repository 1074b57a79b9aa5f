"""A run prunes, distils, resumes, and is evaluated and exported from its own folder or with its slim file."""

from __future__ import annotations

import numpy as np
import pytest
from narrow import run_of_seconds

from ppkd.cli import eval as eval_command
from ppkd.cli import flags
from ppkd.config import load_config
from ppkd.experiment import train
from ppkd.models.trained import trained_detector
from ppkd.report.complexity import complexity
from ppkd.utils.errors import ConfigError, WeightsError
from ppkd.utils.serialization import read_pickle, read_weights

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
NUMBERS = range(27, 33)


pytestmark = pytest.mark.usefixtures("logger_as_before")


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """``-o`` of a run of seconds."""
    return run_of_seconds(tmp_path_factory.mktemp("shapes"), epochs=1)


@pytest.fixture(scope="module")
def whole(root, settings, tmp_path_factory):
    """The folder of a run that is not pruned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return train(load_config(CONFIG, [*settings, f"save_dir={tmp_path_factory.mktemp('whole')}"]))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A slim file in PaddleDetection's form: pruned by the numbers of convolutions, taught by what it was."""
    file = tmp_path_factory.mktemp("slim") / "distill_prune.yml"
    params = ", ".join(f"'conv2d_{number}.w_0'" for number in NUMBERS)
    file.write_text(
        f"""slim: DistillPrune
distill_loss: DistillYOLOv3Loss
DistillYOLOv3Loss: {{weight: 1000}}
pruner: Pruner
Pruner:
  criterion: l1_norm
  pruned_params: [{params}]
  pruned_ratios: {[0.5] * len(NUMBERS)}
"""
    )
    return file


@pytest.fixture(scope="module")
def pruned(root, settings, whole, theirs, tmp_path_factory):
    """The folder of the run of :func:`theirs`, and its ``-o``."""
    options = [*settings, f"save_dir={tmp_path_factory.mktemp('pruned')}", f"pretrain_weights={whole}/model_final"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        slim = load_config(theirs, [f"teacher={whole}"])
        return train(load_config(CONFIG, options), slim), options, slim


def test_the_saved_student_is_plain_and_smaller(whole, pruned):
    before, after = (read_weights(folder / "model_final.pdparams") for folder in (whole, pruned[0]))
    assert before.keys() == after.keys()
    tip = "neck.yolo_block.0.tip.conv.weight"
    assert after[tip].shape == (before[tip].shape[0] // 2, before[tip].shape[1] // 2, 3, 3)
    assert any(
        not np.array_equal(before[name], after[name]) for name in after if before[name].shape == after[name].shape
    )


def test_a_pruned_run_resumes_as_it_was(root, pruned, monkeypatch):
    monkeypatch.chdir(root)
    folder, options, slim = pruned
    shapes = {name: array.shape for name, array in read_weights(folder / "model_final.pdparams").items()}
    again = train(load_config(CONFIG, [*options, "epoch=2"]), slim, resume=folder)
    assert again == folder
    assert {name: array.shape for name, array in read_weights(folder / "model_final.pdparams").items()} == shapes
    assert read_pickle(folder / "model_final.pdstates")["position"]["epoch"] == 2
    train(load_config(folder / "config.yml", ["epoch=3"]), load_config(folder / "slim.yml"), resume=folder)
    assert load_config(folder / "config.yml")["pruned"]


def test_the_runs_own_files_or_its_slim_file_tell_the_shapes(root, pruned, theirs, monkeypatch):
    monkeypatch.chdir(root)
    folder, options, _ = pruned
    weights = f"weights={folder}/model_final.pdparams"
    own = trained_detector(load_config(folder / "config.yml", [weights]))
    parsed = eval_command.parser().parse_args(["-c", CONFIG, "--slim_config", str(theirs), "-o", *options, weights])
    same = trained_detector(flags.load_detector(parsed))
    assert complexity(own, 64, 64) == complexity(same, 64, 64)
    with pytest.raises(WeightsError, match="of another shape"):
        trained_detector(load_config(CONFIG, [weights]))


def test_weights_that_are_not_pruned_are_no_match_for_a_slim_file_that_prunes(root, whole, theirs, monkeypatch):
    monkeypatch.chdir(root)
    args = ["-c", CONFIG, "--slim_config", str(theirs), "-o", f"weights={whole}/model_final.pdparams"]
    with pytest.raises(WeightsError, match=r"no channels are pruned in these weights"):
        trained_detector(flags.load_detector(eval_command.parser().parse_args(args)))


@pytest.mark.slow
def test_a_target_is_met_or_refused(root, settings, whole, tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(root)
    cfg = load_config(CONFIG, [*settings, f"save_dir={tmp_path}", "TestReader.inputs_def.image_shape=[3,64,64]"])
    slim = load_config("slim/prune/l1_norm.yml", ["Pruner.batches=1", f"pretrain_weights={whole}/model_final"])
    folder = train(cfg, slim)
    before = complexity(
        trained_detector(load_config(whole / "config.yml", [f"weights={whole}/model_final.pdparams"])), 64, 64
    )
    run = load_config(folder / "config.yml", [f"weights={folder}/model_final.pdparams"])
    after = complexity(trained_detector(run), 64, 64)
    assert 0.45 < after.gflops / before.gflops < 0.51
    with pytest.raises(ConfigError, match=r"Pruner\.target 0\.01 cannot be met: pruning every group by 75% leaves"):
        train(cfg, slim.merge(load_config("slim/prune/l1_norm.yml", ["Pruner.target=0.01", "Pruner.batches=1"])))

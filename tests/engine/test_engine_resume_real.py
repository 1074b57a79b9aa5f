"""Runs of real detectors, broken off in the middle of an epoch and resumed with another number of reading processes."""

from __future__ import annotations

import pytest
from parallel_case import YOLO, settings
from test_engine_resume import StopAt, assert_same, everything

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.experiment import Experiment, TrainOptions, train
from ppkd.experiment.assembly import assemble
from ppkd.models import build_detector
from ppkd.utils.errors import TrainingError
from ppkd.utils.serialization import write_weights


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shapes")
    draw_shapes(folder, images_train=12, images_val=5, size=64, seed=1)
    return folder


def write_teacher(folder, config):
    weights = folder / "teacher.pdparams"
    write_weights(weights, build_detector(load_config(config)).state_dict())
    return weights


def slim_file(folder, shapes, config, losses):
    """A distillation from random weights, with an unlabelled image in every batch."""
    weights = write_teacher(folder, config)
    (folder / "slim.yml").write_text(
        f"slim: Distill\nteacher: {{config: {config}, weights: {weights}}}\nlosses: {losses}\n"
        f"unlabelled_batch_size: 1\nUnlabelledDataset: !ImageFolder {{dataset_dir: {shapes}, image_dir: val}}\n"
    )
    return load_config(folder / "slim.yml")


@pytest.mark.slow
@pytest.mark.parametrize("amp", [False, True], ids=["float32", "amp"])
def test_adapters_unlabelled_images_averages_and_accumulation_go_on_exactly(
    root, shapes, tmp_path, monkeypatch, request, amp
):
    if amp:
        request.getfixturevalue("as_on_a_gpu")
    monkeypatch.chdir(root)
    slim = slim_file(
        tmp_path, shapes, YOLO, "{mgd: {type: MGD, weight: 1.0e-6, lambda_mgd: 0.5}, l2: {type: OutputL2}}"
    )

    def run(name, workers):
        more = ["epoch=2", "use_ema=true", "gradient_accumulation_steps=2", f"filename={name}", "amp_dtype=bfloat16"]
        options = [*settings(shapes, tmp_path, 2, *more)[1:], f"worker_num={workers}"]
        return load_config(YOLO, options)

    train(run("whole", 0), slim, options=TrainOptions(amp=amp))
    broken = assemble(Experiment.parse(run("parts", 0), slim, TrainOptions(amp=amp))).trainer
    broken._hooks = (*broken._hooks, StopAt(4))
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    train(run("parts", 2), slim, options=TrainOptions(amp=amp, resume=tmp_path / "parts"))
    assert_same(everything(tmp_path / "whole"), everything(tmp_path / "parts"))


@pytest.mark.slow
def test_another_teacher_file_or_setting_is_refused_before_a_step(root, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(root)
    slim = slim_file(tmp_path, shapes, YOLO, "{l2: {type: OutputL2}}")
    options = settings(shapes, tmp_path, 4, "epoch=1", "filename=run")[1:]
    train(load_config(YOLO, options), slim)
    write_teacher(tmp_path, YOLO)
    changed = load_config(YOLO, [*options, "epoch=2", "OptimizerBuilder.optimizer.beta2=0.9"])
    message = r"another teacher taught it \(fingerprint .*\); OptimizerBuilder\.optimizer\.beta2: was 0\.99, now 0\.9\."
    with pytest.raises(TrainingError, match=message):
        train(changed, slim, TrainOptions(resume=tmp_path / "run"))
    train(changed, slim, TrainOptions(resume=tmp_path / "run", force=True))
    log = (tmp_path / "run" / "train.log").read_text()
    assert log.count("WARNING: Forced to go on from") == 2 and "Epoch: [1] [2/3]" in log


@pytest.mark.slow
def test_queries_averages_and_accumulation_go_on_exactly(root, shapes, tmp_path, monkeypatch):
    """Spoilt boxes are drawn from the stream that a checkpoint holds."""
    monkeypatch.chdir(root)
    config = "configs/shapes/rtdetr_r18_160_shapes.yml"
    small = ["DETR.backbone=MobileNetV1", "MobileNetV1.scale=0.25", "MobileNetV1.feature_maps=[4,6,13]"]

    def run(name):
        more = [*small, "epoch=2", "use_ema=true", "gradient_accumulation_steps=2", f"filename={name}"]
        return load_config(config, settings(shapes, tmp_path, 2, *more)[1:])

    train(run("whole"))
    broken = assemble(Experiment.parse(run("parts"))).trainer
    broken._hooks = (*broken._hooks, StopAt(4))
    with pytest.raises(KeyboardInterrupt):
        broken.train()
    train(run("parts"), options=TrainOptions(resume=tmp_path / "parts"))
    assert_same(everything(tmp_path / "whole"), everything(tmp_path / "parts"))

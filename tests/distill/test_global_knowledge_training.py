"""Prototypes in real runs: made before training and every few epochs, saved with the run, the same after a resume."""

from __future__ import annotations

import json

import numpy as np
import pytest
from narrow import narrow

import ppkd.distill
from ppkd.config import load_config
from ppkd.config.write import to_yaml
from ppkd.data.shapes import draw_shapes
from ppkd.engine.hooks.base import Hook
from ppkd.models import build_detector
from ppkd.utils.serialization import read_pickle, read_weights, write_weights

SLIM = """
slim: Distill
teacher: {config: CONFIG, weights: WEIGHTS}
losses:
  gk: {type: GlobalKnowledge, weight: 0.1, fade_epochs: 4, prototypes: {every: 2, count: 4, min_side: 12}}
"""
CLASSES = 4


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw_shapes(tmp_path_factory.mktemp("shapes"), images_train=8, images_val=2, size=96, seed=3)


@pytest.fixture
def run(detector, root, shapes, tmp_path):
    """Runs of three epochs of two steps from a random teacher."""
    published = root / f"configs/shapes/{detector}_r18_160_shapes.yml"
    config = tmp_path / "narrow.yml"
    config.write_text(to_yaml(load_config(published, narrow(load_config(published)))))
    teacher = build_detector(load_config(config))
    write_weights(tmp_path / "teacher.pdparams", {name: value.numpy() for name, value in teacher.state_dict().items()})
    slim = tmp_path / "gk.yml"
    slim.write_text(SLIM.replace("CONFIG", str(config)).replace("WEIGHTS", str(tmp_path / "teacher")))
    overrides = [f"{name}Dataset.dataset_dir={shapes}" for name in ("Train", "Eval")]
    overrides += [
        f"save_dir={tmp_path}",
        "epoch=3",
        "snapshot_epoch=1",
        "worker_num=0",
        "TrainReader.batch_size=4",
        "TrainReader.sample_transforms.2.Resize.target_size=[96, 96]",
        "EvalReader.sample_transforms.1.Resize.target_size=[128, 128]",
    ]
    return lambda name, **options: ppkd.distill(
        student=config,
        slim=slim,
        overrides=[*overrides, f"filename={name}"],
        options=ppkd.TrainOptions(**options),
    )


def prototypes(folder, name):
    """The prototypes in a checkpoint, by name."""
    adapters = read_pickle(folder / f"{name}.pdstates")["adapters"]
    return {key.rsplit(".", 1)[1]: value for key, value in adapters.items() if ".bank." in key}


class StopAt(Hook):
    """Saves ``middle.*`` after a given step and breaks off, as a signal does."""

    def __init__(self, step):
        self.step = step

    def after_step(self, trainer, step):
        if step.number == self.step:
            trainer.save("middle")
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize(("detector", "step"), [("gfl", 4), ("faster_rcnn", 3)])
def test_prototypes_are_made_when_due_and_survive_a_resume(run, step, monkeypatch):
    """Broken off after the first step with new prototypes, and after the last one before new prototypes are due."""
    whole = run("whole")
    first, second, third = (prototypes(whole, name) for name in ("0", "1", "model_final"))
    assert (first["numbers"] == 4).any(axis=0).sum() >= CLASSES - 1
    assert all(np.array_equal(first[key], second[key]) for key in first), "new prototypes when none were due"
    moved = [key for key in first if key.startswith("student") and not np.array_equal(first[key], third[key])]
    assert len(moved) == sum(key.startswith("student") for key in first)
    assert not any("bank" in name for name in read_weights(whole / "model_final"))

    files = sorted((whole / "prototypes").iterdir())
    assert [file.name for file in files] == ["gk_epoch_0.json", "gk_epoch_2.json"]
    record = json.loads(files[0].read_text())
    known = first["numbers"].sum(axis=1)
    assert [sum(len(rows[i]) for rows in record["classes"].values()) for i in range(len(known))] == known.tolist()

    with monkeypatch.context() as patch:
        patch.setattr("ppkd.experiment.assembly.build_hooks", lambda *_, **__: [StopAt(step)])
        with pytest.raises(KeyboardInterrupt):
            run("parts")
    parts = run("parts", resume=whole.parent / "parts" / "middle")
    for suffix in ("pdparams", "pdopt"):
        ours, theirs = (leaves(read_pickle(folder / f"model_final.{suffix}")) for folder in (whole, parts))
        assert ours.keys() == theirs.keys()
        differing = [key for key in ours if not np.array_equal(ours[key], theirs[key])]
        assert not differing, (suffix, differing[:5])
    again = prototypes(parts, "model_final")
    assert all(np.array_equal(third[key], again[key]) for key in third)


def leaves(tree, path=""):
    if isinstance(tree, (dict, list, tuple)):
        found = {}
        for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
            found |= leaves(item, f"{path}/{key}")
        return found
    return {path: np.asarray(tree)}

"""Several losses on one pair, through the public call: each term has its column, schedules act and resume."""

from __future__ import annotations

import csv

import numpy as np
import pytest

import ppkd.distill
from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.models import build_detector
from ppkd.utils.serialization import read_pickle, write_weights

CONFIG = "configs/shapes/gfl_r18_160_shapes.yml"
SLIM = """
slim: Distill
teacher: {config: CONFIG, weights: WEIGHTS}
losses:
  fgd: {type: FGD, weight: 0.01}
  ld: {type: LD, region: main, weight: 0.25}
  ld_vlr: {type: LD, region: valuable, weight: 0.25}
  cwd: {type: CWD, weight: 1}
  cwd_scheduled: {type: CWD, weight: 1, schedule: {warmup_epochs: 1.5, stop_epoch: 1.75}}
  cwd_stopped: {type: CWD, weight: 1, schedule: {stop_epoch: 1}}
"""
TERMS = ("fgd", "ld", "ld_vlr", "cwd", "cwd_scheduled", "cwd_stopped")
FACTORS = np.array([[0, 1 / 6, 2 / 6, 3 / 6], [4 / 6, 5 / 6, 1, 0]])
"""Of ``cwd_scheduled`` at the steps of the two epochs."""


@pytest.fixture(scope="module")
def run(root, tmp_path_factory):
    """A run of two epochs of four steps from a random teacher."""
    folder = tmp_path_factory.mktemp("stack")
    shapes = draw_shapes(folder / "shapes", images_train=8, images_val=2, size=96, seed=3)
    teacher = build_detector(load_config(str(root / CONFIG)))
    write_weights(folder / "teacher.pdparams", {name: value.numpy() for name, value in teacher.state_dict().items()})
    slim = folder / "stack.yml"
    slim.write_text(SLIM.replace("CONFIG", str(root / CONFIG)).replace("WEIGHTS", str(folder / "teacher")))
    overrides = [f"{name}Dataset.dataset_dir={shapes}" for name in ("Train", "Eval")]
    overrides += [
        f"save_dir={folder}",
        "filename=stack",
        "epoch=2",
        "snapshot_epoch=1",
        "worker_num=0",
        "TrainReader.batch_size=2",
    ]
    return lambda **options: ppkd.distill(student=root / CONFIG, slim=slim, overrides=overrides, **options)


@pytest.fixture(scope="module")
def whole(run):
    return run()


def results(folder):
    with (folder / "results.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def states(folder):
    files = {suffix: read_pickle(folder / f"model_final.{suffix}") for suffix in ("pdparams", "pdopt", "pdstates")}
    files["pdstates"].pop("sha256")
    return dict(leaves(files))


def leaves(tree, path=""):
    if isinstance(tree, (dict, list, tuple)):
        for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from leaves(item, f"{path}/{key}")
    else:
        yield path, np.asarray(tree)


@pytest.mark.slow
def test_every_term_is_logged_under_its_name(whole):
    rows = results(whole)
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for row in rows:
        terms = [float(row[name]) for name in TERMS]
        tasks = [float(row[name]) for name in ("loss_vfl", "loss_qfl", "loss_bbox", "loss_dfl") if name in row]
        assert np.isfinite(terms).all() and tasks
        assert float(row["loss"]) == pytest.approx(sum(terms) + sum(tasks), rel=1e-4)
    assert all(float(rows[0][name]) > 0 for name in TERMS)


@pytest.mark.slow
def test_warm_up_and_stop_are_in_the_logged_values(whole):
    first, second = results(whole)
    assert float(first["cwd_stopped"]) == pytest.approx(float(first["cwd"]), rel=1e-5)
    assert float(second["cwd_stopped"]) == 0
    for row, factors in zip((first, second), FACTORS, strict=True):
        assert float(row["cwd_scheduled"]) / float(row["cwd"]) == pytest.approx(factors.mean(), rel=0.03)


@pytest.mark.slow
def test_a_resumed_run_has_the_same_weights_and_figures_bit_for_bit(run, whole):
    expected = results(whole), states(whole)
    for file in whole.glob("model_final.*"):
        file.unlink()
    assert run(resume=whole / "0") == whole
    found = results(whole), states(whole)
    for row in found[0] + expected[0]:
        row.pop("batch_cost")
    assert found[0] == expected[0]
    assert found[1].keys() == expected[1].keys()
    differing = [name for name, value in expected[1].items() if not np.array_equal(value, found[1][name])]
    assert not differing

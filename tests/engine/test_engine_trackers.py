"""Scalars for TensorBoard, Weights & Biases and MLflow, whose packages stand-ins play here."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from engine_toy import make_trainer

from ppkd.cli.train import parser
from ppkd.engine.hooks.scalars import Scalars
from ppkd.utils.errors import ConfigError
from ppkd.utils.trackers import TRACKERS, open_tracker


@pytest.fixture
def points(monkeypatch):
    """What each package was given: (tag, step), and None when it was closed."""
    found = {name: [] for name in TRACKERS}

    class Writer:
        def __init__(self, folder):
            self.folder = folder

        def add_scalar(self, tag, value, step):
            found["tensorboard"].append((tag, step))

        def close(self):
            found["tensorboard"].append(None)

    def log(row):
        (tag, _), (name, step) = row.items()
        assert name == f"{tag}/step"
        found["wandb"].append((tag, step))

    run = SimpleNamespace(log=log, finish=lambda: found["wandb"].append(None))
    mlflow = SimpleNamespace(
        start_run=lambda run_name: None,
        log_metric=lambda tag, value, step: found["mlflow"].append((tag, step)),
        end_run=lambda: found["mlflow"].append(None),
    )
    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=Writer))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda name, dir: run))
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    return found


def test_every_tracker_gets_every_scalar(tmp_path, points):
    hooks = [Scalars(open_tracker(name, tmp_path), 1) for name in TRACKERS]
    trainer = make_trainer(tmp_path, extra=hooks)
    trainer.train()
    given = points["tensorboard"]
    assert given[-1] is None
    assert [step for tag, step in given[:-1] if tag == "loss"] == list(range(trainer.position.step))
    assert points["wandb"] == points["mlflow"] == given


@pytest.mark.parametrize("name", TRACKERS)
def test_a_package_that_is_missing_is_named_with_how_to_install_it(tmp_path, monkeypatch, name):
    package = TRACKERS[name][0]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"--use_{name} needs the package {package}.*: pip install {package}$"):
        open_tracker(name, tmp_path)
    assert getattr(parser().parse_args(["-c", "x", f"--use_{name}"]), f"use_{name}") is True

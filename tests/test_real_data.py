"""Training and evaluation on real photographs: VOC's blood cells and a handful of COCO's images."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from ppkd.config import load_config
from ppkd.experiment import TrainOptions, train

FIELDS = ("loss_xy", "loss_wh", "loss_obj", "loss_cls", "loss")


def run(root, monkeypatch, config, overrides):
    """One short epoch and its evaluation; the rows of results.csv and the log."""
    monkeypatch.chdir(root)
    folder = train(load_config(config, overrides), options=TrainOptions(evaluate=True))
    with (folder / "results.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return rows, (folder / "train.log").read_text()


@pytest.mark.slow
def test_bccd_trains_and_is_evaluated_as_voc(root, real_data, tmp_path, monkeypatch):
    data = [f"{name}Dataset.dataset_dir={real_data / 'bccd'}" for name in ("Train", "Eval", "Test")]
    size = ["TrainDataset.sample_num=16", "EvalDataset.sample_num=4", "TrainReader.batch_size=4", "epoch=2"]
    config = "configs/bccd/yolov3_mobilenet_v1_x0.25_192_bccd.yml"
    rows, log = run(root, monkeypatch, config, [*data, *size, f"save_dir={tmp_path}"])
    assert np.isfinite([[float(row[name]) for name in FIELDS] for row in rows]).all()
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert "mAP(0.50, integral) = " in log
    assert all(name in log for name in ("Platelets", "RBC", "WBC"))


@pytest.mark.slow
def test_bccd_names_its_two_degenerate_boxes(root, real_data, tmp_path, monkeypatch):
    (tmp_path / "both.txt").write_text("BloodImage_00338\nBloodImage_00343\n")
    data = [f"{name}Dataset.dataset_dir={real_data / 'bccd'}" for name in ("Train", "Eval", "Test")]
    lists = [f"TrainDataset.anno_path={tmp_path / 'both.txt'}", "EvalDataset.sample_num=1"]
    size = ["TrainReader.batch_size=2", "epoch=1", "worker_num=0"]
    config = "configs/bccd/yolov3_mobilenet_v1_x0.25_192_bccd.yml"
    rows, log = run(root, monkeypatch, config, [*data, *lists, *size, f"save_dir={tmp_path}"])
    assert np.isfinite(float(rows[0]["loss"]))
    assert "BloodImage_00338" in log and "BloodImage_00343" in log


@pytest.mark.slow
def test_coco_trains_with_the_published_reader(root, real_data, tmp_path, monkeypatch):
    tiny = real_data / "coco_tiny"
    names = sorted(path.name for path in (tiny / "annotations").glob("*.json"))
    train_json, val_json = (next(name for name in names if split in name) for split in ("train", "val"))
    data = [
        *(f"{name}Dataset.dataset_dir={tiny}" for name in ("Train", "Eval", "Test")),
        f"TrainDataset.anno_path=annotations/{train_json}",
        f"EvalDataset.anno_path=annotations/{val_json}",
        "TrainDataset.sample_num=12",
        "EvalDataset.sample_num=4",
    ]
    small = [
        "TrainReader.batch_transforms.0.BatchRandomResize.target_size=[96, 128]",
        "EvalReader.sample_transforms.1.Resize.target_size=[128, 128]",
        "TrainReader.batch_size=4",
        "epoch=1",
        "pretrain_weights=null",
        f"save_dir={tmp_path}",
    ]
    rows, log = run(root, monkeypatch, "configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml", [*data, *small])
    assert np.isfinite([float(rows[0][name]) for name in FIELDS]).all()
    assert {"AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"} <= set(rows[0])
    assert "EvalDataset: 4 images" in log

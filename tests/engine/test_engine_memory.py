"""A training loop of a real detector, with images of other sizes in every batch, holds no more memory after a while."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.engine.events import Step
from ppkd.engine.hooks.base import Hook
from ppkd.engine.trainer import Trainer
from ppkd.experiment.assembly import assemble
from ppkd.experiment.experiment import Experiment

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
STATM = Path("/proc/self/statm")
WARM_UP, BOUND_MB = 60, 10.0
READER = """TrainReader:
  batch_size: 1
  sample_transforms: [Decode: {}, RandomDistort: {}, RandomExpand: {}, RandomCrop: {}, RandomFlip: {}]
  batch_transforms:
    - BatchRandomResize: {target_size: [32, 64, 96], random_size: true, random_interp: true, keep_ratio: false}
    - NormalizeImage: {is_scale: true, mean: [0.5, 0.5, 0.5], std: [0.2, 0.2, 0.2]}
    - Permute: {}
"""


class Resident(Hook):
    """Resident memory after every step, in MB."""

    def __init__(self) -> None:
        self.megabytes: list[float] = []

    def after_step(self, trainer: Trainer, step: Step) -> None:
        self.megabytes.append(int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20)


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="the resident memory of a process is read from /proc")
def test_hundreds_of_steps_with_varying_sizes_do_not_grow_resident_memory(root: Path, tmp_path: Path) -> None:
    """60 steps of warm-up, 140 more; a batch that stayed would add 0.1 MB a step, its graph several times that."""
    draw_shapes(tmp_path, images_train=40, images_val=1, size=64, seed=1)
    (tmp_path / "c.yml").write_text(f"_BASE_: {root / CONFIG}\n{READER}")
    run = ["epoch=5", "worker_num=0", "log_iter=100", "snapshot_epoch=5", f"save_dir={tmp_path}"]
    cfg = load_config(tmp_path / "c.yml", [*run, f"TrainDataset.dataset_dir={tmp_path}"])
    trainer, resident = assemble(Experiment.parse(cfg)).trainer, Resident()
    trainer._hooks = (*trainer._hooks, resident)
    trainer.train()
    print([round(value) for value in resident.megabytes[::20]])
    assert len(resident.megabytes) == 200
    assert max(resident.megabytes[-20:]) - max(resident.megabytes[:WARM_UP]) < BOUND_MB

"""Tiny detectors on drawn shapes, trained by the real tool in one process or in two."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
YOLO = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
FROZEN = """
_BASE_: [{configs}/shapes/_base_/shapes.yml, {configs}/runtime.yml, {configs}/shapes/_base_/{detector}_160.yml,
         {configs}/shapes/_base_/reader_160.yml]
weights: none
norm_type: sync_bn
ResNet: {{depth: 18, return_idx: [1, 2, 3], freeze_at: -1, freeze_norm: true, norm_decay: 0.}}
LearningRate:
  base_lr: 0.02
  base_batch_size: 4
  schedulers:
  - !PiecewiseDecay {{gamma: 0.1, milestones: [5]}}
  - !LinearWarmup {{start_factor: 0.5, steps: 3}}
OptimizerBuilder: {{clip_grad_by_norm: 5.0, optimizer: {{type: Momentum, momentum: 0.9}}}}
"""


def write_frozen(folder: Path, detector: str) -> str:
    """A configuration of retinanet or gfl without batch statistics and with plain SGD, whose rounding stays small."""
    file = folder / f"{detector}.yml"
    file.write_text(FROZEN.format(configs=ROOT / "configs", detector=detector))
    return str(file)


def settings(shapes: Path, save: Path, batch_size: int, *more: str) -> list[str]:
    """``-o`` of a run on ``shapes`` in pictures of 64 x 64."""
    sizes = [
        f"{r}.sample_transforms.{i}.Resize.target_size=[64,64]" for r, i in (("TrainReader", 2), ("EvalReader", 1))
    ]
    data = [f"{key}.dataset_dir={shapes}" for key in ("TrainDataset", "EvalDataset")]
    run = ["log_iter=1", "worker_num=0", f"TrainReader.batch_size={batch_size}", "EvalReader.batch_size=2"]
    return ["-o", *data, *sizes, *run, f"save_dir={save}", *more]


def start(tool: str, *arguments: str, log_dir: Path | None = None) -> subprocess.Popen[str]:
    """The tool in one process, or in two when there is a folder for the launcher's logs."""
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--log_dir", str(log_dir)] if log_dir else []
    return subprocess.Popen(
        [sys.executable, *launch, str(ROOT / "tools" / tool), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """What the process wrote until it ended well."""
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output[-4000:]
    return output

"""The configurations of a user's own data: data, readers, teacher, student, distillation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ppkd.start.found import TRAIN, VAL, Found
from ppkd.start.suggest import Plan

DECODE = "Decode: {}"
COLOURS, FLIP = "RandomDistort: {}", "RandomFlip: {}"
CROPS = ("RandomExpand: {fill_value: [123.675, 116.28, 103.53], ratio: 1.5}", "RandomCrop: {}")
NORMALISE = "NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: true}"


@dataclass(frozen=True)
class Names:
    """The names of the files that are written for the data set ``name`` into ``folder``."""

    folder: Path
    name: str

    def path(self, part: str) -> Path:
        """The configuration of ``part``: data, reader, teacher, student or distil."""
        return self.folder / f"{self.name}_{part}.yml"

    @property
    def sheet(self) -> Path:
        """The contact sheet."""
        return self.folder / f"{self.name}_sheet.jpg"

    @property
    def distilled(self) -> str:
        """The folder of the student's run."""
        return f"output/{self.name}_student_{self.name}_distil"


def data_yaml(found: Found, classes: tuple[str, ...]) -> str:
    """The data sets; each replaces the one of the file that it is laid over."""
    head = "# Your data: what was found by `ppkd init`. Paths are seen from the folder that the commands run in.\n"
    lines = [head + "metric: COCO", f"num_classes: {len(classes)}"]
    # Training leaves out images without boxes, as everywhere; in validation what is found on them counts as wrong.
    empty = {"allow_empty": True}
    test = {"dataset_dir": str(found.root), "label_list": list(classes)}
    blocks = (
        ("TrainDataset", found.kind, found.settings(TRAIN)),
        ("EvalDataset", found.kind, {**found.settings(VAL), **empty}),
        ("TestDataset", "ImageFolder", test),
    )
    lines += [f"{key}: !{kind}\n{_indented(settings)}" for key, kind, settings in blocks]
    return "\n\n".join(lines) + "\n"


def reader_yaml(plan: Plan) -> str:
    """The readers of both detectors, at the suggested size."""
    plain = _steps(plan.size)
    return f"""# Input, batch and reading processes; lower batch_size if the memory is too small for it.
worker_num: {plan.workers}

TrainReader:
  sample_transforms:
{_steps(plan.size, COLOURS, FLIP)}
  batch_transforms: []
  batch_size: {plan.batch}
  shuffle: true
  drop_last: true

EvalReader:
  sample_transforms:
{plain}
  batch_transforms: []
  batch_size: {plan.batch}

TestReader:
  inputs_def:
    image_shape: [3, {plan.size}, {plan.size}]
  sample_transforms:
{plain}
  batch_transforms: []
  batch_size: 1
"""


def teacher_yaml(plan: Plan, names: Names) -> str:
    """The teacher: a long schedule with scales and cut-outs."""
    return f"""{_detector(plan, names, plan.pair.teacher)}
weights: output/{names.path("teacher").stem}/best_model
{_schedule(plan, 0)}
TrainReader:
  sample_transforms:
{_steps(plan.size, COLOURS, *CROPS, FLIP)}
"""


def student_yaml(plan: Plan, names: Names) -> str:
    """The student; its ``weights`` are those of the distilled run."""
    return f"""{_detector(plan, names, plan.pair.student)}
weights: {names.distilled}/best_model
{_schedule(plan, 1)}"""


def distil_yaml(plan: Plan, names: Names) -> str:
    """The distillation from the teacher's run."""
    return f"""_BASE_: {plan.pair.recipe}

teacher: output/{names.path("teacher").stem}
"""


def _detector(plan: Plan, names: Names, base: str) -> str:
    text = f"_BASE_: [{base}, {_quoted(names.path('data').name)}, {_quoted(names.path('reader').name)}]\n"
    if plan.scale is not None:
        text += f"\nGFLHead:\n  grid_cell_scale: {plan.scale}\n"
    if plan.anchors is not None:
        text += f"\nYOLOv3Head:\n  anchors: {plan.anchors}\n"
    return text


def _schedule(plan: Plan, which: int) -> str:
    epochs, rate = plan.epochs[which], plan.pair.rates[which]
    return f"""
epoch: {epochs}
snapshot_epoch: {max(epochs // 8, 1)}

LearningRate:
  base_lr: {rate * plan.batch / plan.pair.batch:g}
  base_batch_size: {plan.batch}
  schedulers:
  - !CosineDecay
    max_epochs: {epochs}
  - !LinearWarmup
    start_factor: 0.1
    steps: 100
"""


def _steps(size: int, *drawn: str) -> str:
    resize = f"Resize: {{target_size: [{size}, {size}], keep_ratio: false, interp: 2}}"
    return "\n".join(f"    - {step}" for step in (DECODE, *drawn, resize, NORMALISE, "Permute: {}"))


def _indented(settings: Mapping[str, Any]) -> str:
    text = yaml.safe_dump(dict(settings), allow_unicode=True, sort_keys=False, default_flow_style=None, width=110)
    return "".join(f"  {line}\n" for line in text.splitlines()).rstrip("\n")


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, allow_unicode=True, default_style='"', width=1000).strip()

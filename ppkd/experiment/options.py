"""What a command adds to the configurations of a run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PathLike = str | os.PathLike[str]


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What the command line adds to the configurations; the defaults leave everything to them.

    Attributes:
        evaluate: evaluate every checkpoint and keep the best one.
        resume: a checkpoint or a run's folder to continue from.
        overwrite: replace the run that is in the folder, instead of refusing or numbering.
        enable_ce: seed 0 and no shuffling, so that two runs can be compared number by number.
        amp: mixed precision, on a GPU.
        use_vdl: write scalars for VisualDL below ``vdl_log_dir``.
        vdl_log_dir: the configuration's if not given.
        trackers: write scalars for these too, of :data:`ppkd.utils.trackers.TRACKERS`.
        profiler_options: see :func:`ppkd.engine.hooks.profiler.parse_options`.
        force: resume although teacher or settings have changed.
        fleet: let Paddle's fleet connect several processes.
        auto_scale_lr: scale the learning rate from ``LearningRate.base_batch_size`` to the images of an update.
        to_static: let the student's backbone run as a static graph.
        baseline: the folder of another run, which the end and the report compare with.
        dry_run: do everything that comes before the first step, and stop.
        tune: ``batch`` tries before the run how large ``TrainReader.batch_size`` can be, and takes that.
    """

    evaluate: bool = False
    resume: PathLike | None = None
    overwrite: bool = False
    enable_ce: bool = False
    amp: bool = False
    use_vdl: bool = False
    vdl_log_dir: PathLike | None = None
    trackers: Sequence[str] = ()
    profiler_options: str | None = None
    force: bool = False
    fleet: bool = False
    auto_scale_lr: bool = False
    to_static: bool = False
    baseline: PathLike | None = None
    dry_run: bool = False
    tune: Literal["batch"] | None = None


DEFAULTS = TrainOptions()

"""Which hooks a run has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ppkd.config.value import LocatedError
from ppkd.data import build_loader
from ppkd.engine.hooks.base import Hook
from ppkd.engine.hooks.interrupt import StopOnSignal
from ppkd.engine.hooks.log import LogLines
from ppkd.engine.hooks.profiler import Profiler, parse_options
from ppkd.engine.hooks.results import Results
from ppkd.engine.hooks.scalars import Scalars
from ppkd.engine.hooks.snapshot import Evaluation, Snapshot, SnapshotPlan
from ppkd.engine.hooks.terminal import TerminalTable
from ppkd.engine.signals import SignalWatch
from ppkd.experiment.experiment import Experiment
from ppkd.experiment.parts import open_dataset
from ppkd.metrics import build_metric
from ppkd.utils import processes
from ppkd.utils.class_names import refuse_other_names
from ppkd.utils.errors import nearest
from ppkd.utils.trackers import open_tracker
from ppkd.utils.visualdl import open_writer


def build_hooks(experiment: Experiment, *, gpu: bool, names: Sequence[str]) -> list[Hook]:
    """The hooks of a run in the order in which they act; only the first of several processes writes or shows any.

    ``names`` are the training set's classes. Raises :class:`PPKDError` for a wrong evaluation set or wrong options.
    """
    settings, options = experiment.runtime, experiment.options
    first = processes.is_first()
    plan = SnapshotPlan(settings.snapshot_epoch)
    hooks: list[Hook] = [TerminalTable()] if first else []
    hooks.append(LogLines(settings.log_iter))
    if options.profiler_options and first:
        hooks.append(Profiler(parse_options(options.profiler_options)))
    hooks.append(Snapshot(plan))
    if settings.patience is not None and not options.evaluate:
        mark = experiment.config.mark("patience")
        raise LocatedError(mark, "patience counts evaluations, and this run makes none: write --eval")
    if options.evaluate:
        hooks.append(_evaluation(experiment, plan, names))
    if first:
        hooks.append(Results(experiment.folder))
    if first and (options.use_vdl or settings.use_vdl):
        folder = Path(options.vdl_log_dir or settings.vdl_log_dir)
        hooks.append(Scalars(open_writer(folder), settings.log_iter))
    if first:
        hooks += [Scalars(open_tracker(name, experiment.folder), settings.log_iter) for name in options.trackers]
    return [*hooks, StopOnSignal(SignalWatch(), every=settings.log_iter if gpu and processes.count() > 1 else 1)]


def _evaluation(experiment: Experiment, plan: SnapshotPlan, names: Sequence[str]) -> Evaluation:
    cfg = experiment.config
    dataset = open_dataset(cfg, "EvalDataset", experiment.runtime.num_classes)
    where = cfg.where("EvalDataset")
    refuse_other_names(names, dataset.class_names, where=where, label="EvalDataset", source="TrainDataset has")
    metric = build_metric(cfg, experiment.runtime, dataset, output_dir=experiment.folder)
    settings = experiment.runtime
    if settings.best_by is not None and settings.best_by not in metric.figures:
        raise LocatedError(
            cfg.mark("best_by"),
            f"best_by is {settings.best_by}, which is no figure of the metric {settings.metric}"
            f"{nearest(settings.best_by, metric.figures)}; there are {', '.join(metric.figures)}",
        )
    loader = build_loader(experiment.eval_reader, dataset)
    return Evaluation(plan, loader, metric, best_by=settings.best_by, patience=settings.patience)

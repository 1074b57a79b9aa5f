"""Writing the page about a run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ppkd.experiment.explain.look import look
from ppkd.experiment.explain.sections import sections
from ppkd.experiment.finished import FinishedRun
from ppkd.experiment.report import compared, data, evaluation, training
from ppkd.report.blocks import Page, Section, Text
from ppkd.report.page import write_page
from ppkd.utils.errors import PPKDError
from ppkd.utils.logger import get_logger

FILE_NAME = "report.html"

logger = get_logger(__name__)


def write_report(folder: Path, baseline: Path | None = None) -> Path:
    """Write ``report.html`` about the run in ``folder``, beside the run in ``baseline`` where that is given.

    Detections are those of the last evaluation; a run without any is evaluated. Raises :class:`PPKDError` for folders
    that are no runs', and for data and weights that are not there any more.
    """
    run = FinishedRun(folder)
    other = None if baseline is None else FinishedRun(baseline)
    settings = run.experiment.runtime
    subtitle = f"{settings.architecture}, {settings.epoch} epochs"
    if run.distillation is not None:
        subtitle += f", distilled by {', '.join(run.distillation.get('losses', ()))}"
    page = Page(f"{folder.resolve().name}", subtitle, list(_sections(run, other)))
    return write_page(page, folder / FILE_NAME)


def report_training(folder: Path, baseline: Path | None = None) -> None:
    """Write the report of a training that just ended; what goes wrong there is one line of warning and nothing else."""
    try:
        logger.info("Report: %s", write_report(folder, baseline))
    # The run is done and its weights are written: no fault of a page about it may make it look failed.
    except Exception as error:
        logger.warning("No report was written: %s; `ppkd report %s` tries again", _said(error), folder)


def _said(error: Exception) -> str:
    """In one line; what no user can have caused comes with its kind."""
    kind = "" if isinstance(error, PPKDError | OSError) else f"{type(error).__name__}: "
    return kind + " ".join(str(error).split())


def _losses(run: FinishedRun) -> list[Section]:
    """What the losses of a distillation do on the image with the most disagreement."""
    if run.distillation is None or run.weights is None:
        return []
    try:
        return sections(look(run, (), 1))
    # A loss may be anybody's, and what it shows is the least of the page.
    except Exception as error:
        return [Section("Losses", [Text(f"The losses cannot be shown: {_said(error)}", warns=True)])]


def _sections(run: FinishedRun, other: FinishedRun | None) -> Iterator[Section]:
    own = run.judged("student" if run.distillation is not None else "detector")
    figures, metric = run.scored(own.found) if own is not None else ({}, None)
    yield training.summary(run, figures)
    if (curves := training.curves(run.results)) is not None:
        yield curves
    if own is None or metric is None or run.evaluation is None:
        yield Section("Evaluation", [Text("There are no detections: the run has no EvalDataset, or no weights yet.")])
    else:
        names = run.evaluation.class_names
        alone = None if other is None else run.judged_like(other, "baseline")
        yield evaluation.classes(own, names, metric.per_class)
        yield evaluation.score_curves(own, names)
        yield evaluation.confusions(own, names)
        yield evaluation.errors(own)
        yield compared.images(run, own, alone)
        if alone is not None and other is not None:
            yield compared.gained_and_lost(run, own, alone, other.folder.name)
    yield from _losses(run)
    yield data.data(run)
    yield data.mosaic(run)

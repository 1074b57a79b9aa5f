"""Writing the page about a run's losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ppkd.experiment.explain.look import look
from ppkd.experiment.explain.sections import sections
from ppkd.experiment.finished import FinishedRun
from ppkd.report.blocks import Page
from ppkd.report.page import write_page

FILE_NAME = "explain.html"


def write_explanation(folder: Path, names: Sequence[str] = (), *, count: int = 3) -> Path:
    """Write ``explain.html`` about the distillation run in ``folder``.

    It shows the images of its EvalDataset that ``names`` name, or the ``count`` with the most disagreement of student
    and teacher among some. Raises :class:`PPKDError` for another run, and what is not there any more.
    """
    run = FinishedRun(folder)
    page = Page(
        f"Losses of {folder.resolve().name}", "where they act, and what they changed", sections(look(run, names, count))
    )
    return write_page(page, folder / FILE_NAME)

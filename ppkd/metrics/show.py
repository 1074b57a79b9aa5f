"""Tables for the log and precision-recall curves as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import numpy as np

from ppkd.report.fonts import fonts_for
from ppkd.utils.names import plot_text, shown


def ascii_table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of ASCII characters; the first column is aligned left, the others right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [[shown(cell) for cell in row] for row in rows]
    table = Table(box=box.ASCII, show_edge=True)
    for index, name in enumerate(heading):
        table.add_column(Text(name), justify="left" if index == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    width = sum(max(len(row[i]) for row in [heading, *rows]) + 3 for i in range(len(heading))) + 1
    console = Console(file=StringIO(), width=2 * width, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def draw_curve(folder: Path, stem: str, name: str, recall: np.ndarray, precision: np.ndarray, overlap: float) -> Path:
    """Save the curve of class ``name`` as ``<stem>_precision_recall_curve.jpg`` in ``folder`` and give its path."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}_precision_recall_curve.jpg"
    with fonts_for([name]):
        figure = Figure(layout="tight")
        axes = figure.add_subplot(
            title=f"{plot_text(name)} (IoU = {overlap:g})",
            xlabel="Recall",
            ylabel="Precision",
            xlim=(0, 1.02),
            ylim=(0, 1.02),
        )
        axes.plot(recall, precision)
        axes.grid(True)
        figure.savefig(path)
    return path

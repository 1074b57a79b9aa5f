"""Curves of one or several training runs, from the ``results.csv`` that the trainer writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ppkd.utils.csv_file import read_rows
from ppkd.utils.errors import DataError
from ppkd.utils.names import plot_text

EPOCH = "epoch"
Columns = dict[str, list[float]]


def read_results(path: Path | str) -> Columns:
    """The numeric columns of a ``results.csv``; an empty cell (an epoch without evaluation) is NaN.

    Raises :class:`DataError` if the file is missing, no csv file of a run, has no rows, or a cell is not a number.
    """
    path = Path(path)
    rows = read_rows(path, column=EPOCH)
    if not rows:
        raise DataError(f"{path}: no finished epoch yet, nothing to plot")
    columns: Columns = {name: [] for name in rows[0] if name}
    for line, row in enumerate(rows, start=2):
        for name, numbers in columns.items():
            try:
                numbers.append(float(row[name]) if row[name].strip() else float("nan"))
            except ValueError as error:
                raise DataError(f"{path}:{line}: expected a number for '{name}', found {row[name]!r}") from error
    return columns


def plot_curves(
    runs: Mapping[str, Path | str], output: Path | str, columns: Sequence[str] = ("loss", "AP"), x: str = EPOCH
) -> Path:
    """One panel per name of ``columns``, one line per run (label -> its ``results.csv``); writes ``output`` (png, svg).

    A run that lacks a column is left out of that panel. Raises :class:`DataError` if no run has any of them.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    results = {label: read_results(path) for label, path in runs.items()}
    known = [name for name in columns if any(name in result for result in results.values())]
    if not known:
        have = sorted({name for result in results.values() for name in result})
        raise DataError(
            f"none of the columns {list(columns)} is in {[str(path) for path in runs.values()]}: found {have}"
        )
    figure, axes = pyplot.subplots(1, len(known), figsize=(5.5 * len(known), 4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], known, strict=True):
        for label, result in results.items():
            if name in result:
                points = finite_points(result.get(x) or [float(i) for i in range(len(result[name]))], result[name])
                axis.plot(*points, label=plot_text(label), marker="." if len(points[0]) < 40 else None, linewidth=1.4)
        axis.set(xlabel=plot_text(x), title=plot_text(name))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
    pyplot.close(figure)
    return output


def finite_points(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    """The points whose ``y`` is a number: evaluations every few epochs still make a connected line."""
    kept = [(a, b) for a, b in zip(x, y, strict=True) if b == b]
    return [a for a, _ in kept], [b for _, b in kept]

"""The parts of a run's page on its evaluation: classes, thresholds, confusions, kinds of error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ppkd.experiment.finished import Judged
from ppkd.metrics.diagnosis import Kind, confusion, error_costs, recall_precision, thresholds
from ppkd.metrics.diagnosis.precision import RECALLS
from ppkd.metrics.diagnosis.thresholds import GRID
from ppkd.report.blocks import Block, Cell, Section, Table, Text
from ppkd.report.plots import Panel, bars, panels
from ppkd.utils.names import shown

MOST_CLASSES = 30
"""Beyond these the confusion matrix would be too large to read: the most frequent confusions are listed instead."""
MOST_LISTED = 25
ALL, NOTHING = "all classes", "(nothing)"
SAID = {
    Kind.CLASS: ("wrong class", "a detection that overlaps an object of another class by half or more"),
    Kind.PLACE: ("wrong place", "a detection that overlaps an object of its class, but by less than half"),
    Kind.BOTH: ("wrong class and place", "a detection that overlaps an object of another class by less than half"),
    Kind.DUPLICATE: ("duplicate", "a detection of an object that a better one has"),
    Kind.BACKGROUND: ("background", "a detection that overlaps no object by a tenth"),
    Kind.MISSED: ("missed", "an object that no detection found, in a wrong place or as a wrong class either"),
}


def classes(judged: Judged, names: Sequence[str], per_class: Mapping[str, float]) -> Section:
    """A sortable table: objects, AP, and what the best threshold gives each class."""
    rows = []
    positives = judged.matches.evaluated.positives.tolist()
    for label, name in enumerate(names):
        own = thresholds(judged.matches, label)
        numbers = own.at(own.best) if positives[label] else (None,) * 3
        cells = [percent(per_class.get(name)), *(percent(number) for number in numbers)]
        best = Cell(f"{own.best:.2f}", own.best) if positives[label] else percent(None)
        rows.append([Cell(shown(name)), Cell(f"{positives[label]}", positives[label]), *cells, best])
    head = ["class", "objects", "AP", "precision", "recall", "F1", "threshold"]
    caption = (
        "In percent. Precision, recall and F1 at the threshold with the best F1 of the class, at an overlap of 0.5."
    )
    return Section("Classes", [Table(head, rows, caption)])


def score_curves(judged: Judged, names: Sequence[str]) -> Section:
    """Precision over recall, and precision, recall and F1 over the lowest score."""
    met = judged.matches
    positives = met.evaluated.positives
    own = {
        name: recall_precision(met.right[met.counted & (met.evaluated.found.label == label)], int(positives[label]))
        for label, name in enumerate(names)
        if positives[label]
    }
    mean = np.mean([*own.values()], axis=0)
    everything = {f"mean of {ALL}": mean, **(own if len(own) > 1 else {})}
    together = thresholds(met)
    by_class = {name: thresholds(met, label).f1 for label, name in enumerate(names) if positives[label]}
    over = {"precision": together.precision, "recall": together.recall, "F1": together.f1}
    precision, recall, f1 = together.at(together.best)
    text = (
        f"The best F1 of {ALL} together, {100 * f1:.1f} %, is at a threshold of {together.best:.2f}: precision "
        f"{100 * precision:.1f} %, recall {100 * recall:.1f} %. This is the score to give as draw_threshold."
    )
    drawn = [
        Panel("precision over recall", {name: (RECALLS, y) for name, y in everything.items()}, "recall", unit=True),
        Panel(ALL, {name: (GRID, y) for name, y in over.items()}, "lowest score", unit=True, marks=[together.best]),
        Panel("F1 of each class", {name: (GRID, y) for name, y in by_class.items()}, "lowest score", unit=True),
    ]
    return Section("Thresholds", [Text(text), panels(drawn, "At an overlap of 0.5; the dashed line is the best F1.")])


def confusions(judged: Judged, names: Sequence[str]) -> Section:
    """Which class was taken for which, at the best threshold."""
    counts = confusion(judged.matches, judged.score)
    intro = f"Detections of at least {judged.score:.2f}, the threshold with the best F1, at an overlap of 0.5."
    block = _matrix(counts, names) if len(names) <= MOST_CLASSES else _list(counts, names)
    return Section("Confusions", [Text(intro), block])


def errors(judged: Judged) -> Section:
    """The six kinds of error and what they cost."""
    costs = error_costs(judged.matches)
    rows = []
    for cost in costs:
        name, means = SAID[cost.kind]
        points = Cell(f"{100 * cost.cost:.1f}", cost.cost)
        rows.append([Cell(name), Cell(f"{cost.count}", cost.count), points, Cell(means)])
    blocks: list[Block] = [
        Text(
            "How many points of AP50 would be gained if the errors of one kind alone were mended. The "
            "kinds are TIDE's (Bolya et al. 2020); all detections count, whatever their score."
        ),
        bars([SAID[cost.kind][0] for cost in costs], [100 * cost.cost for cost in costs], "", "points of AP50"),
        Table(["kind of error", "number", "points", "what it is"], rows),
    ]
    return Section("Errors", blocks)


def percent(value: float | None) -> Cell:
    """``value`` of 0..1 as percent; a dash where there is none."""
    return Cell("-", -1.0) if value is None else Cell(f"{100 * value:.1f}", value)


def _matrix(counts: np.ndarray, names: Sequence[str]) -> Table:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows = [
        [Cell(shown(name)), *(Cell(f"{count}", count, float(share)) for count, share in zip(*pair, strict=True))]
        for name, *pair in zip([*names, NOTHING], counts.tolist(), shares, strict=True)
    ]
    head = ["is ↓  taken for →", *map(shown, names), NOTHING]
    return Table(
        head,
        rows,
        f"The stronger the colour, the larger the part of the row. {NOTHING}: no object there, or not found.",
        False,
    )


def _list(counts: np.ndarray, names: Sequence[str]) -> Table:
    wrong = counts[:-1, :-1] * (1 - np.eye(len(names), dtype=int))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_LISTED]
    rows = []
    for true, taken in zip(*np.unravel_index(order, wrong.shape), strict=True):
        count, all_of_them = int(wrong[true, taken]), int(counts[true].sum())
        if count:
            part = Cell(f"{100 * count / all_of_them:.1f}", count / all_of_them)
            rows.append([Cell(shown(names[true])), Cell(shown(names[taken])), Cell(f"{count}", count), part])
    return Table(["is", "taken for", "number", "% of its class"], rows, "The most frequent confusions of two classes.")

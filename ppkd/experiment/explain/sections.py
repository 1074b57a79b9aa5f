"""What was seen of a run's losses as sections of a page."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ppkd.distill.effects import Effect
from ppkd.distill.explanation import CellMap, Lines
from ppkd.experiment.explain.look import AFTER, BEFORE, Seen, View
from ppkd.report.blocks import Block, Cell, Picture, Pictures, Plot, Section, Table, Text
from ppkd.report.draw import class_colour
from ppkd.report.pictures import fitted, heat, picture, with_boxes
from ppkd.report.plots import Panel, panels
from ppkd.utils.names import shown

SIDE = 240
MOST_LINES = 8


def sections(seen: Seen) -> list[Section]:
    """The weight of every loss, the disagreement of both sides, and a section for each loss."""
    names = list(dict.fromkeys(name for view in seen.views for name in view.maps))
    return [_shares(seen), *_disagreement(seen, names), *(_loss(seen.views, name) for name in names)]


def _shares(seen: Seen) -> Section:
    """How much each loss, and each level of it, moves the student."""
    rows = []
    for name, after in seen.effects[AFTER].items():
        before = seen.effects[BEFORE].get(name)
        levels = ", ".join(f"{stride}: {100 * share:.0f} %" for stride, share in after.levels.items())
        rows.append([Cell(name), _ratio(before), _ratio(after), _number(after.cosine), Cell(levels or "-")])
    text = (
        "How long each loss's gradient on the student's neck is, as a multiple of the task's: far above 1 the loss "
        "drowns the boxes, far below it teaches nothing. A cosine below 0 pulls against the task. The last column says "
        "which levels the loss's value comes from, by their strides."
    )
    head = ["loss", f"gradient {BEFORE}", AFTER, "cosine", "from strides"]
    return Section("Weight of the losses", [Text(text), Table(head, rows)])


def _disagreement(seen: Seen, names: Sequence[str]) -> list[Section]:
    """The mean difference of both sides, by what is compared and level."""
    rows = []
    for name in names:
        before, after = ([view.difference(name, when) for view in seen.views] for when in (BEFORE, AFTER))
        for title, stride in after[0] if after else ():
            means = [float(np.mean([each[title, stride] for each in part])) for part in (before, after)]
            change = means[1] / means[0] - 1 if means[0] else 0.0
            numbers = [Cell(f"{mean:.2f}", mean) for mean in means]
            rows.append(
                [Cell(name), Cell(title), Cell(f"{stride}", stride), *numbers, Cell(f"{100 * change:+.0f} %", change)]
            )
    text = (
        "The mean of each loss's own measure of how far student and teacher are apart on these images; its part of the "
        "page says how to read it. Images come with the most disagreement first."
    )
    table = Table(["loss", "what", "stride", BEFORE, AFTER, "change"], rows)
    return [Section("Disagreement", [Text(text), table])] if rows else []


def _loss(views: Sequence[View], name: str) -> Section:
    """Every map of a loss on every image, level by level, and its lines."""
    titles: dict[str, list[str]] = {}
    for one in (one for view in views for one in view.maps.get(name, ())):
        same = titles.setdefault(one.reading, [])
        same += [] if (title := _short(one.title)) in same else [title]
    readings = [[Cell(", ".join(same)), Cell(reading)] for reading, same in titles.items()]
    blocks: list[Block] = [Table(["picture", "how to read it"], readings, sortable=False)]
    for view in views:
        maps = view.maps.get(name, [])
        rows = [(f"{shown(view.name)}, stride {stride}", _level(view, maps, stride)) for stride in _strides(maps)]
        blocks.append(Pictures(rows))
        if (drawn := _lines(view.lines.get(name, []))) is not None:
            blocks.append(drawn)
    return Section(f"Loss {name}", blocks)


def _level(view: View, maps: Sequence[CellMap], stride: int) -> list[Picture]:
    image, scale = fitted(view.image, SIDE)
    colours = [class_colour(label) for label in view.labels.tolist()]
    pictures = [picture(with_boxes(image, view.boxes * scale, colours), "input with its boxes")]
    own = [one for one in maps if one.stride == stride]
    titles = list(dict.fromkeys(_short(one.title) for one in own))
    own.sort(key=lambda one: titles.index(_short(one.title)))
    for one in own:
        most = max(
            float(other.values.max()) for other in own if other is one or (one.scale and other.scale == one.scale)
        )
        pictures.append(picture(heat(one.values, image, most=most), f"{one.title}: largest {one.values.max():.3g}"))
    return pictures


def _lines(lines: Sequence[Lines]) -> Plot | None:
    """The lines of the finest level that has any, and of the others as far as there is room."""
    if not lines:
        return None
    drawn = [
        Panel(
            f"{one.title}, stride {one.stride}",
            {owner: (np.arange(len(values)), values) for owner, values in one.lines.items()},
            one.along,
        )
        for one in lines[:MOST_LINES]
    ]
    return panels(drawn, " ".join(dict.fromkeys(one.reading for one in lines)))


def _strides(maps: Sequence[CellMap]) -> list[int]:
    return sorted({one.stride for one in maps})


def _short(title: str) -> str:
    for when in (BEFORE, AFTER):
        title = title.removesuffix(f", {when}")
    return title


def _ratio(effect: Effect | None) -> Cell:
    return Cell("-", -1.0) if effect is None else _number(effect.gradient, " x task")


def _number(value: float, unit: str = "") -> Cell:
    return Cell(f"{value:.2g}{unit}", value) if math.isfinite(value) else Cell("-", -1.0)

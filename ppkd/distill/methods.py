"""Which distillation loss goes with which detectors: asked of their specs, for whatever is registered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.config import Config, build, load_config
from ppkd.config.registry import Component, lookup, names
from ppkd.distill.loss import DistillLoss
from ppkd.models import build_detector
from ppkd.models.detectors.detector import Detector
from ppkd.structures import DetectorSpec
from ppkd.utils.errors import ConfigError, SpecError

if TYPE_CHECKING:
    from rich.table import Table

CLASSES = 4
"""All detectors are asked with the same number of classes."""
INTRODUCTION = """# Losses and detectors

Which pairs of student and teacher a loss takes with its default settings, as their specs admit. The losses and
detectors are the registered ones, each detector as its smallest file in `configs/` has it. Under a student stand its
teachers. [distillation.md](distillation.md) says what each loss computes. Written by
`python tools/methods.py --markdown > docs/methods.md`.

"""


@dataclass(frozen=True)
class Method:
    """A loss: what it reads of both detectors in the pairs that fit, its paper, and the teachers of each student."""

    name: str
    consumes: tuple[tuple[str, ...], ...]
    paper: str
    teachers: dict[str, tuple[str, ...]]


def registered(base: type) -> list[str]:
    """Names of all components that are a ``base``, sorted, without other names of the same one."""
    return sorted({component.name for component in map(_component, names()) if issubclass(component.cls, base)})


def example(detector: str, configs: Path) -> Config:
    """A detector's smallest configuration in ``configs``: one for the drawn shapes if there is any.

    Raises:
        ConfigError: no file there is of this detector.
    """
    for path in sorted(configs.glob("*/*.yml"), key=lambda path: ("shapes" not in path.parts, path)):
        cfg = load_config(str(path), ["pretrain_weights=null", f"num_classes={CLASSES}"])
        if cfg.get("architecture") == detector:
            return cfg
    raise ConfigError(f"{configs}: no file in its folders has `architecture: {detector}`")


def methods(configs: Path) -> list[Method]:
    """Every registered loss with every pair of registered detectors, which are built from files in ``configs``."""
    specs = {name: build_detector(example(name, configs)).spec() for name in registered(Detector)}
    return [_method(name, specs) for name in registered(DistillLoss)]


def markdown(found: Sequence[Method]) -> str:
    """A page with the methods as a GitHub-flavoured table."""
    heading, *rows = _cells(found)
    lines = [heading, ["---"] * len(heading), *rows]
    return INTRODUCTION + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def table(found: Sequence[Method]) -> Table:
    """The methods as a rich table that a terminal of 80 columns has room for."""
    from rich.table import Table
    from rich.text import Text

    made = Table("loss", "reads", "student <- teachers that it takes", title="Losses and detectors", show_lines=True)
    for method in found:
        source = f"\n{_source(method.paper)[0]}" if method.paper else ""
        reads = "\nor ".join(", ".join(entries) for entries in method.consumes) or "-"
        made.add_row(*map(Text, (f"{method.name}{source}", reads, "\n".join(_fits(method)))))
    return made


def _fits(method: Method) -> list[str]:
    """A line for each set of students that take the same teachers; students that take none are left out."""
    every = tuple(method.teachers)
    by_teachers: dict[tuple[str, ...], list[str]] = {}
    for student, teachers in method.teachers.items():
        by_teachers.setdefault(teachers, []).append(student)
    by_teachers.pop((), None)
    lines = []
    for teachers, students in by_teachers.items():
        own = "any" if len(students) == len(every) else ", ".join(students)
        same = len(students) > 1 and tuple(students) == teachers != every
        lines.append(f"{own} <- {'any' if teachers == every else 'any of these' if same else ', '.join(teachers)}")
    return lines or ["-"]


def _component(name: str) -> Component:
    return lookup(name, "registry")


def _method(name: str, specs: dict[str, DetectorSpec]) -> Method:
    consumes: dict[tuple[str, ...], None] = {}
    teachers: dict[str, tuple[str, ...]] = {}
    for student, own in specs.items():
        fitting = dict(_fitting(name, own, specs))
        teachers[student] = tuple(fitting)
        consumes.update(dict.fromkeys(map(_read, fitting.values())))
    loss: type[DistillLoss] = _component(name).cls
    return Method(name, tuple(consumes), loss.paper, teachers)


def _fitting(name: str, student: DetectorSpec, specs: dict[str, DetectorSpec]) -> Iterator[tuple[str, DistillLoss]]:
    for teacher, spec in specs.items():
        try:
            yield teacher, build(Config({}, {}), name, student=student, teacher=spec)
        except SpecError:
            continue


def _read(loss: DistillLoss) -> tuple[str, ...]:
    return (*loss.consumes, "boxes") if loss.needs_truth else loss.consumes


def _cells(found: Sequence[Method]) -> list[list[str]]:
    students = list(found[0].teachers)
    rows = [["loss", "consumes", "paper", *(f"student {name}" for name in students)]]
    for method in found:
        consumes = " or ".join(", ".join(f"`{entry}`" for entry in entries) for entries in method.consumes)
        teachers = [", ".join(method.teachers[student]) or "-" for student in students]
        paper = "[{}]({})".format(*_source(method.paper)) if method.paper else "-"
        rows.append([f"`{method.name}`", consumes or "-", paper, *teachers])
    return rows


def _source(paper: str) -> tuple[str, str]:
    """What to call a paper, and its address."""
    if "." in paper:
        return f"arXiv {paper}", f"https://arxiv.org/abs/{paper}"
    return f"OpenReview {paper}", f"https://openreview.net/forum?id={paper}"

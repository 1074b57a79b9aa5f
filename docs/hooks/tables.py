"""Tables that stand in pages as ``<!-- table: KIND NAME -->``, made of the registry and the shipped files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from docs.hooks.markdown import table
from docs.hooks.measured import measured
from docs.hooks.settings import settings_of
from ppkd.config import Config, load_config
from ppkd.distill.methods import example
from ppkd.models import build_detector
from ppkd.structures import DetectorSpec

ROOT = Path(__file__).resolve().parents[2]
MARKER = re.compile(r"<!-- table: (\w+) ([\w ]+) -->")
COMMON = """`-` stands for what the loss finds itself. Every loss has a
[`schedule`](../distillation.md#weight-and-schedule), those on feature maps
[`scale`, `project` and `levels`](../distillation.md#feature-maps-their-unit-their-projection-their-levels)."""


def filled(markdown: str) -> str:
    """The page with its tables."""
    return MARKER.sub(lambda found: _made(found[1], found[2]), markdown)


def with_pages(markdown: str) -> str:
    """docs/methods.md, whose losses lead to their pages."""
    pages = _pages()
    return re.sub(r"(?m)^\| `(\w+)` \|", lambda found: f"| [`{found[1]}`](methods/{pages[found[1]]}) |", markdown)


def options(loss: str) -> str:
    """The settings of a loss."""
    rows = [(f"`{one.name}`", f"`{one.default}`", one.meaning) for one in settings_of(loss)]
    return f"{table(('option', 'default', 'meaning'), rows)}\n{COMMON}"


def fits(loss: str) -> str:
    """Which teachers each student takes with a loss, as docs/methods.md has them."""
    row = _matrix()[loss]
    if all(len(teachers) == len(row) for teachers in row.values()):
        return f"Every student learns from every teacher: {', '.join(row)}."
    return table(("student", "teachers"), [(name, _names(row[name])) for name in row if row[name]])


def slim(loss: str) -> str:
    """The shipped slim files that use a loss."""
    rows = [(f"[{path}](../../{path})", ", ".join(found)) for path, found in _slim_files().items() if loss in found]
    if not rows:
        return (
            f"No shipped slim file has it. In any of them it is one more line of `losses:`, `name: {{type: {loss}}}`."
        )
    return table(("slim file", "losses"), rows)


def configurations(detector: str) -> str:
    """The shipped configurations of a detector."""
    rows = []
    for place, cfg in _configurations().items():
        if cfg.get("architecture") == detector:
            backbone = cfg.at(f"{detector}.backbone")
            rows.append((f"[{Path(place).stem}](../../{place})", str(backbone), str(cfg.get("epoch")), _data(cfg)))
    return table(("configuration", "backbone", "epochs", "data"), rows)


def entries(detector: str) -> str:
    """What a detector records, and its abilities, asked of its smallest configuration."""
    spec = _spec(detector)
    rows = []
    for name, entry in spec.entries.items():
        where = f"strides {_list(entry.strides)}" if entry.kind == "grid" else f"stages: {len(entry.levels)}"
        reading = ", ".join(one for one in (entry.activation, entry.coding) if one != "none")
        rows.append((f"`{name}`", entry.role, entry.kind, where, reading or "-"))
    abilities = ", ".join(f"`{name}`" for name in sorted(spec.abilities))
    listed = table(("entry", "role", "kind", "of this configuration", "read as"), rows)
    return f"Of `{_example(detector).name}`:\n\n{listed}\nAbilities: {abilities}."


def losses(detector: str) -> str:
    """The losses that a detector takes as a student, from whom, and whom it teaches by them."""
    rows = []
    for loss, students in _matrix().items():
        taught = [student for student, teachers in students.items() if detector in teachers]
        if taught or students[detector]:
            link = f"[{loss}](../methods/{_pages()[loss]})" if loss in _pages() else loss
            rows.append((link, _names(students[detector]), _names(taught)))
    return table(("loss", "learns from", "teaches"), rows)


KINDS: dict[str, Callable[[str], str]] = {
    one.__name__: one for one in (options, fits, slim, measured, configurations, entries, losses)
}


@cache
def _made(kind: str, name: str) -> str:
    return KINDS[kind](name)


@cache
def _matrix() -> dict[str, dict[str, list[str]]]:
    """The teachers of each student with each loss, from the page that ``ppkd methods --markdown`` writes."""
    page = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    heading, _, *rows = [[cell.strip() for cell in line.split(" | ")] for line in page.splitlines() if line[:1] == "|"]
    students = [name.strip(" |").removeprefix("student ") for name in heading[3:]]
    matrix = {}
    for loss, _consumes, _paper, *cells in rows:
        lists = [[] if cell.strip(" |") == "-" else cell.strip(" |").split(", ") for cell in cells]
        matrix[loss.strip("| `")] = dict(zip(students, lists, strict=True))
    return matrix


@cache
def _configurations() -> dict[str, Config]:
    files = sorted((ROOT / "configs").glob("*/*.yml"))
    return {path.relative_to(ROOT).as_posix(): load_config(str(path)) for path in files}


@cache
def _slim_files() -> dict[str, list[str]]:
    """The types of the losses of each shipped slim file."""
    found = {}
    for path in sorted((ROOT / "slim").glob("*/*.yml")):
        losses = load_config(str(path)).get("losses") or {}
        found[path.relative_to(ROOT).as_posix()] = [losses[name]["type"] for name in losses]
    return found


@cache
def _pages() -> dict[str, str]:
    """The page of each loss that has one."""
    found = {}
    for page in (ROOT / "docs/methods").glob("*.md"):
        for kind, name in MARKER.findall(page.read_text(encoding="utf-8")):
            if kind == "options":
                found[name] = page.name
    return found


@cache
def _example(detector: str) -> Config:
    return example(detector, ROOT / "configs")


@cache
def _spec(detector: str) -> DetectorSpec:
    return build_detector(_example(detector)).spec()


def _data(cfg: Config) -> str:
    return str(cfg.at("TrainDataset.dataset_dir")).removeprefix("dataset/")


def _names(detectors: Sequence[str]) -> str:
    everyone = next(iter(_matrix().values()))
    return "all" if len(detectors) == len(everyone) else ", ".join(detectors) or "-"


def _list(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))

"""Chains of teachers: each link is distilled from the one before it (LD's teacher assistants, arXiv:2102.12252)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ppkd.config import Config
from ppkd.study.outcome import Outcome, Row, Trial
from ppkd.study.perform import Slots, perform_all
from ppkd.study.report import write_links
from ppkd.study.runs import Run, distilled
from ppkd.study.settings import check_run, read
from ppkd.utils.errors import ConfigError


@dataclass(frozen=True)
class Link:
    """One detector of a chain.

    Attributes:
        config: its file.
        slim: how it is distilled from the link before it; the first link has none and is trained alone.
        weights: trained weights, for the first link only; it is then evaluated and not trained.
        options: what ``-o`` adds in its run.
    """

    config: str
    slim: str | None = None
    weights: str | None = None
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Chain:
    """What ``ppkd chain`` reads.

    Attributes:
        links: from the teacher over its assistants to the student, by name.
        options: what ``-o`` adds in all runs.
        output: the chain's folder; ``output/<name of the file>`` if not given.
    """

    links: dict[str, Link]
    options: tuple[str, ...] = ()
    output: str = ""


def run_chain(cfg: Config) -> Path:
    """Bring every link of the chain ``cfg`` to its end, the first unfinished one from its newest checkpoint.

    Returns the chain's folder with the report of each link's figures.

    Raises:
        ConfigError: a link is wrong; found before the first one starts.
        TrainingError: a link failed; the same command goes on from its newest checkpoint.
    """
    settings = read(cfg, Chain)
    folder = Path(settings.output or f"output/{cfg.name}")
    runs = plan(settings, folder, cfg.where("links"))
    for run in runs:
        check_run(run)
    rows = []
    for run in runs:
        figures = perform_all([run], folder, Slots())
        rows.append(Row(run.name, (Outcome.of(Trial(run), figures[run.name], folder),)))
        write_links(rows, folder, title=" -> ".join(run.name for run in runs))
    return folder


def plan(settings: Chain, folder: Path, where: str) -> list[Run]:
    """The runs of a chain's links; raises :class:`ConfigError` naming ``where`` when the links make no chain."""
    if len(settings.links) < 2:
        raise ConfigError(f"{where}: a chain needs two links or more, from the teacher to the student")
    runs: list[Run] = []
    for name, link in settings.links.items():
        run = Run(name, link.config, (*settings.options, *link.options), weights=link.weights)
        if not runs:
            if link.slim is not None:
                raise ConfigError(f"{where}.{name}: the first link has no teacher; leave out its slim file")
        elif link.slim is None or link.weights is not None:
            raise ConfigError(f"{where}.{name}: a link after the first is distilled: give it a slim file, no weights")
        else:
            alone = Run(name, link.config, settings.options)
            run = distilled(alone, link.slim, link.options, runs[-1], folder)
        runs.append(run)
    return runs

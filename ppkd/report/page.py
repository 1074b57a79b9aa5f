"""One self-contained HTML file from blocks: no address in it leads anywhere else."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ppkd import __version__
from ppkd.report.blocks import Page
from ppkd.utils.atomic import atomic_open


def write_page(page: Page, path: Path) -> Path:
    """Write ``page`` to ``path``; raises :class:`WeightsError` where it cannot be written."""
    with atomic_open(path) as stream:
        stream.write(render(page).encode())
    return path


def render(page: Page) -> str:
    """The HTML text of ``page``."""
    return _environment().get_template("page.html").render(page=page, version=__version__)


@cache
def _environment() -> Environment:
    loader = PackageLoader("ppkd.report")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)

    def asset(name: str) -> Markup:
        return Markup(loader.get_source(made, name)[0])

    made.globals["asset"] = asset
    made.filters["slug"] = lambda text: re.sub(r"\W+", "-", text).strip("-").lower()
    return made

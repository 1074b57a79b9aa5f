"""Matplotlib's figures as SVG that stands inside a page and takes the colours of its theme."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, GRID, QUIET = "#010203", "#010204", "#010205"
SERIES = tuple(f"#0102{number:02x}" for number in range(16, 24))
"""Stand-ins, which :func:`inline` turns into the page's own variables: ``--ink``, ``--series-0`` and so on."""

_VARIABLES = {
    INK: "--ink",
    GRID: "--grid",
    QUIET: "--quiet",
    **{colour: f"--series-{i}" for i, colour in enumerate(SERIES)},
}
_SETTINGS: dict[str, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "svg.hashsalt": "ppkd",
}


@contextmanager
def themed() -> Iterator[None]:
    """Inside, figures are drawn in the colours that :func:`inline` knows."""
    import matplotlib
    from cycler import cycler

    settings: Any = {**_SETTINGS, "axes.prop_cycle": cycler(color=SERIES)}
    with matplotlib.rc_context(settings):
        yield


def inline(figure: Figure, title: str) -> str:
    """``figure`` as an ``<svg>`` as wide as its surroundings, at most its own size; ``title`` is read to the blind.

    Made inside of :func:`themed`. Texts stay texts, so that the browser's fonts show names in any script.
    """
    from html import escape

    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<\?.*?\?>", "", text, flags=re.DOTALL)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    width, height = (72 * side for side in figure.get_size_inches())
    # Several figures share a page: what one defines must not be taken for what another does.
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="([^"]+)"', lambda found: _name(found[1], own, text), text)
    text = re.sub(r'((?:xlink:)?href="#|url\(#)([^")]+)', rf"\g<1>{own}-\2", text)
    size = f'viewBox="0 0 {width:g} {height:g}" style="max-width:{width:g}pt"'
    head = f'<svg role="img" aria-label="{escape(title)}" {size}>'
    return re.sub(r"\n\s*", "\n", head + text[text.index(">") + 1 :])


def _name(name: str, own: str, text: str) -> str:
    """The attribute of an element that others refer to; the others need none."""
    return f'id="{own}-{name}"' if f"#{name}" in text else ""

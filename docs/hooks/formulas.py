"""Formulas as SVG, drawn by matplotlib when the site is built: no script and no font is needed to read them."""

from __future__ import annotations

import html
from typing import Any

from matplotlib import rc_context
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.textpath import text_to_path
from matplotlib.transforms import Affine2D

SIZE = 18.0
"""Size of the letters in pixels, a little more than that of the text around."""
MARGIN = 2.0


def fence(source: str, language: str, css_class: str, options: dict[str, Any], md: Any, **given: Any) -> str:
    """A block of formulas, one in each line, as pymdownx.superfences asks for it."""
    drawn = "\n".join(svg(line.strip()) for line in source.splitlines() if line.strip())
    return f'<div class="{css_class}">\n{drawn}\n</div>'


def svg(formula: str) -> str:
    """One formula in the part of LaTeX that matplotlib reads, in the colour of the text."""
    with rc_context({"mathtext.fontset": "stix"}):
        vertices, codes = text_to_path.get_text_path(FontProperties(), f"${formula}$", ismath=True)
    path = Path(vertices, codes).transformed(Affine2D().scale(SIZE / text_to_path.FONT_SCALE))
    box = path.get_extents()
    x, y = box.x0 - MARGIN, -box.y1 - MARGIN
    width, height = box.width + 2 * MARGIN, box.height + 2 * MARGIN
    return (
        f'<svg role="img" aria-label="{html.escape(formula)}" width="{width:.1f}" height="{height:.1f}" '
        f'viewBox="{x:.2f} {y:.2f} {width:.2f} {height:.2f}"><path fill="currentColor" d="{_data(path)}"/></svg>'
    )


def _data(path: Path) -> str:
    letters = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C"}
    parts = []
    for points, code in path.iter_segments(curves=True, simplify=False):
        numbers = " ".join(f"{-one if place % 2 else one:.2f}" for place, one in enumerate(points))
        parts.append("Z" if code == Path.CLOSEPOLY else f"{letters[code]}{numbers}")
    return "".join(parts)

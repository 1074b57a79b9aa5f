"""Fonts of plots that have the characters of class names: Matplotlib's own has no Chinese, Japanese or Korean ones."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache

from ppkd.utils.logger import get_logger

USUAL = "DejaVu Sans"
PLACEHOLDERS = "Last Resort"
"""Fonts of such names draw a box for every character there is."""
INSTALL = "install a font that does, Noto Sans CJK for instance (apt-get install fonts-noto-cjk)"

_log = get_logger(__name__)


@contextmanager
def fonts_for(texts: Iterable[str]) -> Iterator[None]:
    """Inside, Matplotlib takes the characters of ``texts`` that its font lacks from fonts of this machine.

    Where none has them, a warning says so once, and they become boxes.
    """
    import matplotlib

    families = _families("".join(sorted({*"".join(texts)})))
    with matplotlib.rc_context({"font.family": families}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .* missing from")
        yield


@cache
def _families(characters: str) -> list[str]:
    """The usual font, and others as long as they have characters of which none before them has a picture."""
    from matplotlib import font_manager

    families = [USUAL]
    missing = _lacking(font_manager.findfont(USUAL), characters)
    # Upright ones of normal weight first; a family's name begins alike in all of its styles.
    entries = sorted(font_manager.fontManager.ttflist, key=lambda each: (each.style != "normal", each.weight != 400))
    for entry in entries:
        if not missing:
            break
        if entry.name.startswith(PLACEHOLDERS) or entry.name in families:
            continue
        left = _lacking(entry.fname, missing)
        if len(left) < len(missing):
            families.append(entry.name)
            missing = left
    if missing:
        _log.warning("no font of this machine has the characters %s of class names: %s", missing[:20], INSTALL)
    return families


def _lacking(path: str, characters: str) -> str:
    from matplotlib import font_manager

    try:
        font = font_manager.get_font(path)
    except (OSError, RuntimeError):
        return characters
    return "".join(each for each in characters if each.isprintable() and not font.get_char_index(ord(each)))

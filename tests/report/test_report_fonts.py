"""Class names in plots: characters that Matplotlib's font lacks come from another one, or are named once."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import font_manager

from ppkd.metrics.show import draw_curve
from ppkd.report import fonts


def covered(family: str) -> set[int]:
    return set(font_manager.get_font(font_manager.findfont(family)).get_charmap())


def test_a_font_that_has_the_characters_is_found() -> None:
    """STIX comes with Matplotlib, and has some that its usual font lacks."""
    others = {entry.name for entry in font_manager.fontManager.ttflist} - {fonts.USUAL, "STIXGeneral"}
    elsewhere = set().union(*(covered(name) for name in others if not name.startswith(fonts.PLACEHOLDERS)))
    own = sorted(covered("STIXGeneral") - covered(fonts.USUAL) - elsewhere)
    if not own:
        pytest.skip("another font of this machine has all that STIX has")
    with fonts.fonts_for(["plain", f"odd {chr(own[0])}"]):
        assert matplotlib.rcParams["font.family"] == [fonts.USUAL, "STIXGeneral"]
    with fonts.fonts_for(["plain", "café Ω я"]):
        assert matplotlib.rcParams["font.family"] == [fonts.USUAL]


def test_characters_that_no_font_has_are_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = [entry for entry in font_manager.fontManager.ttflist if entry.name == fonts.USUAL]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", usual)
    fonts._families.cache_clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(2):
            draw_curve(tmp_path, str(number), "红细胞", np.array([0.0, 1.0]), np.array([1.0, 0.5]), 0.5)
    fonts._families.cache_clear()
    (message,) = [said for said in caplog.messages if "no font" in said]
    assert "no font of this machine has the characters 红细胞 of class names: install a font" in message
    assert "fonts-noto-cjk" in message and (tmp_path / "1_precision_recall_curve.jpg").is_file()

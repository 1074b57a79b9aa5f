"""Names of classes that nobody would choose: files, tables, curves and pictures are made of any of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import NAMES, fewer

from ppkd.metrics.show import ascii_table, draw_curve
from ppkd.report.draw import draw_detections
from ppkd.utils.class_names import class_names, write_class_names
from ppkd.utils.errors import PPKDError
from ppkd.utils.names import file_stems, shown

pytestmark = pytest.mark.filterwarnings("ignore:Glyph")

WORDS = NAMES | st.text("$\\{}^_%#& a/.", max_size=12) | st.text(max_size=400)


@given(names=st.lists(WORDS, max_size=6))
def test_file_names_are_safe_short_and_distinct(names: list[str], scratch: Path) -> None:
    stems = file_stems(names)
    assert set(stems) == set(names) and len({stem.casefold() for stem in stems.values()}) == len(stems)
    for stem in stems.values():
        path = scratch / f"{stem}_precision_recall_curve.jpg"
        path.touch()
        assert path.parent == scratch and path.is_file()
        path.unlink()


@fewer
@given(name=WORDS)
def test_curves_tables_and_pictures(name: str, scratch: Path) -> None:
    stem = file_stems([name])[name]
    path = draw_curve(scratch, stem, name, np.array([0.0, 1.0]), np.array([1.0, 0.5]), 0.5)
    assert path.parent == scratch and path.stat().st_size
    path.unlink()
    assert len(ascii_table(("category",), [(name,)]).splitlines()) == 5
    assert len(shown(name)) <= 60 and len(shown(name).splitlines()) <= 1
    drawn = draw_detections(np.zeros((40, 60, 3), np.uint8), np.array([[0, 0.9, 5, 20, 40, 30]], np.float32), [name])
    assert drawn.any()


@given(names=st.lists(WORDS, min_size=1, max_size=4))
def test_names_beside_weights_are_read_as_they_were_written_or_refused(names: list[str], scratch: Path) -> None:
    weights = scratch / "m.pdparams"
    try:
        write_class_names(weights, names)
    except PPKDError as error:
        assert "class" in str(error)
    else:
        assert class_names(weights) == tuple(names)

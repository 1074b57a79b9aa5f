"""Names that users choose, as names of files and as text in plots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from ppkd.metrics.show import ascii_table, draw_curve
from ppkd.utils.names import file_stems, plot_text, shown

HARMLESS = ("cat", "traffic light", "Zürich 4.2", "三角", "a+b_c-d")
HARMFUL = (
    "$x$",
    r"$\frac{1}{$",
    "$$",
    r"\$",
    "_hidden",
    "a\nb",
    "\ud800",
    "a\0b",
    "x" * 5000,
    "../../etc/passwd",
    "",
    "%",
)


def test_harmless_names_stay() -> None:
    assert file_stems(HARMLESS) == {name: name for name in HARMLESS}
    assert all(plot_text(name) == shown(name) == name for name in HARMLESS)


def test_harmful_names_become_short_safe_and_distinct() -> None:
    names = ["a/b", "a_b", "a_b-2", "A_B", *("猫" * 1000 + str(i) for i in range(3)), "..", "-rf", *HARMFUL]
    stems = file_stems(names)
    assert list(stems) == names
    assert stems["a/b"] == "a_b"
    assert len({stem.casefold() for stem in stems.values()}) == len(names)
    for stem in stems.values():
        assert 0 < len(stem.encode()) < 100
        assert stem[0] not in ".-" and not set(stem) & set("/\0\n\\$")


def test_many_equal_names_take_no_time() -> None:
    names = ["x" * 100 + str(number) for number in range(50_000)]
    assert len(set(file_stems(names).values())) == len(names)


@pytest.mark.parametrize("name", HARMFUL)
def test_every_name_can_be_drawn_and_tabulated(tmp_path: Path, name: str) -> None:
    stem = file_stems([name])[name]
    path = draw_curve(tmp_path, stem, name, np.array([0.0, 1.0]), np.array([1.0, 0.5]), 0.5)
    assert path.parent == tmp_path and path.stat().st_size > 1000
    table = ascii_table(("category", "AP"), [(name, "0.5")])
    assert len(table.splitlines()) == 5 and max(map(len, table.splitlines())) < 90
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([0, 1], label=plot_text(name or "-"))
    assert len(axes.legend().get_texts()) == 1
    figure.savefig(tmp_path / "legend.png")


def test_dollars_are_drawn_as_they_are() -> None:
    from matplotlib.text import Text

    for name in ("$5", "$a$", r"\$b$"):
        text, mathematical = Text()._preprocess_math(plot_text(name))
        assert (text, mathematical) == (name, False)

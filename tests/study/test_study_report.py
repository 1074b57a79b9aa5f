"""The arithmetic of a comparison's report: pairs, intervals, the word for a gain, and what was not measured."""

from __future__ import annotations

import json
import math
import re

import pytest
from scipy import stats

from ppkd.study.durations import seconds_of, shown
from ppkd.study.gains import Gain
from ppkd.study.outcome import Outcome, Row, Trial
from ppkd.study.report import comparison_table, seed_table, spread_lines, title_of, write_comparison
from ppkd.study.runs import Run
from ppkd.study.table import lines_of, points, signed


def row(name, *aps, seconds=0.1, seeds=None, threads=(None,), jumped=()):
    """A method's row with AP in percent by seed; with several ``threads`` for each seed in turn."""
    outcomes = []
    for place, ap in enumerate(aps):
        seed = place // len(threads) if seeds is None else seeds[place]
        run = Run(f"{name}-{place}", "student.yml", threads=threads[place % len(threads)])
        figures = {"AP": ap, "AP50": 2 * ap, "APs": None}
        outcomes.append(Outcome(Trial(run, seed), figures, seconds, jumped=place in jumped))
    return Row(name, tuple(outcomes))


def test_the_interval_is_that_of_a_paired_t_test():
    ours, theirs = [30.1, 29.2, 33.0, 31.4], [26.0, 27.5, 28.1, 27.9]
    gain = row("method", *ours).gain(row("baseline", *theirs), "AP")
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))
    assert gain.word == "gain"


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ([4.1, 5.0, 4.4], "gain"),
        ([-4.1, -5.0, -4.4], "loss"),
        ([9.0, 0.5, 6.0], "no difference shown"),
        ([7.5], "no difference shown"),
        ([0.0, 0.0], "no difference shown"),
    ],
)
def test_a_gain_is_called_what_its_interval_supports(values, word):
    assert Gain.of(values).word == word


def test_pairs_are_those_of_the_same_seed_and_threads():
    baseline = row("baseline", 20.0, 30.0, 40.0, seeds=[0, 1, 2])
    assert row("method", 45.0, 24.0, seeds=[2, 0]).gain(baseline, "AP").values == (5.0, 4.0)
    assert row("method", 24.0, seeds=[7]).gain(baseline, "AP") is None
    baseline = row("baseline", 20.0, 22.0, 30.0, 30.0, threads=(1, 2))
    gain = row("method", 25.0, 25.0, 33.0, 34.0, threads=(1, 2)).gain(baseline, "AP")
    assert gain.values == (4.0, 3.5)


def test_the_table_has_intervals_and_dashes_for_what_was_not_measured():
    baseline, method = row("baseline", 20.0, 30.0), row("method", 23.0, 35.0, seconds=0.25)
    gains = {"method": method.gain(baseline, "AP")}
    lines = lines_of(comparison_table([row("teacher", 40.0, seconds=None), baseline, method], gains)).splitlines()
    assert lines[0] == "| method | seeds | AP | AP50 | APs | gain AP | shown | ms / step |"
    assert lines[2] == "| teacher | 1 | 40.0 | 80.0 | - | - | - | - |"
    assert lines[3] == "| baseline | 2 | 25.0 ± 7.1 | 50.0 | - | - | - | 100 |"
    assert lines[4] == "| method | 2 | 29.0 ± 8.5 | 58.0 | - | +4.0 (-8.7 to +16.7) | no difference shown | 250 |"


def test_every_seed_is_shown_with_its_pair_and_a_mark_where_the_loss_jumped():
    baseline, method = row("baseline", 20.0, 5.0, 26.0, jumped=[1]), row("method", 23.0, 30.0)
    assert lines_of(seed_table(baseline, [method], "AP")).splitlines() == [
        "| seed | 0 | 1 | 2 |",
        "| :--- | ---: | ---: | ---: |",
        "| baseline | 20.0 | 5.0 J | 26.0 |",
        "| method | 23.0 (+3.0) | 30.0 (+25.0) | - |",
    ]


def test_the_spread_is_told_for_each_number_of_threads():
    baseline = row("baseline", 20.0, 21.0, 20.0, 23.0, threads=(1, 2))
    lines = spread_lines(baseline, "AP")
    assert len(lines) == 1
    assert lines[0].split("; ") == [
        "The spread of baseline's AP: all runs: standard deviation 1.4, from lowest to highest 3.0 (4 runs)",
        "1 thread: standard deviation 0.0, from lowest to highest 0.0 (2 runs)",
        "2 threads: standard deviation 1.4, from lowest to highest 2.0 (2 runs).",
    ]
    assert "| seed | 0 (1 thread) | 0 (2 threads) | 1 (1 thread) | 1 (2 threads) |" in lines_of(
        seed_table(baseline, [], "AP")
    )
    assert spread_lines(row("baseline", 20.0), "AP") == []


def test_no_number_is_a_negative_zero():
    assert (points(-0.04), signed(-0.04), signed(0.04), signed(-0.06)) == ("0.0", "0.0", "0.0", "-0.1")
    assert points(None) == "-"


def test_the_report_has_words_numbers_and_a_plot(tmp_path):
    rows = row("teacher", 40.0), row("baseline", 20.0, 21.0), row("a $method_", 24.0, 25.5)
    write_comparison(rows[0], rows[1], rows[2:], tmp_path, "title", "Enough.")
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# title\n\n| method |")
    assert text.endswith("\n\nEnough.\n")
    assert (tmp_path / "gains.png").stat().st_size > 1000
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.search(r'<td data-order="4\.2">\+4\.2 \(\S+ to \S+\)</td><td class="words">', page)
    assert page.count("<svg") == 1
    assert "<h2>Training</h2>" not in page
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["rows"][2]["runs"][1] == {
        "run": "a $method_-1",
        "seed": 1,
        "threads": None,
        "figures": {"AP": 25.5, "AP50": 51.0, "APs": None},
        "seconds_per_step": 0.1,
        "seconds": 0.0,
        "jumped": False,
    }


def test_a_run_is_called_by_its_folder():
    assert title_of("configs/a.yml", "output/big/config.yml") == "a from big"


def test_one_seed_has_no_interval(tmp_path):
    write_comparison(row("teacher", 40.0), row("baseline", 20.0), [row("method", 24.0)], tmp_path, "title", "")
    assert "| +4.0 (one seed) | no difference shown |" in (tmp_path / "report.md").read_text()
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["gains"]["method"]["half_width"] is None
    assert math.isinf(row("method", 24.0).gain(row("baseline", 20.0), "AP").half_width)


@pytest.mark.parametrize(
    ("text", "seconds", "again"),
    [
        ("3h", 10800, "3.0 h"),
        ("90m", 5400, "1.5 h"),
        ("1h 30m", 5400, "1.5 h"),
        ("40m", 2400, "40 min"),
        ("45s", 45, "45 s"),
    ],
)
def test_durations(text, seconds, again):
    assert seconds_of(text, "budget") == seconds
    assert shown(seconds) == again

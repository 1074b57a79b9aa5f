"""The documentation site: it builds without a warning, needs no network, and its tables are the registry's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.hooks import formulas, repository, settings, tables
from ppkd.config.registry import lookup
from ppkd.distill.loss import DistillLoss
from ppkd.distill.methods import registered
from ppkd.models.detectors.detector import Detector

LOADED = re.compile(
    r"<(?:script|img|iframe)[^>]* src=\"?([^\" >]+)|<link[^>]*rel=\"?stylesheet[^>]* href=\"?([^\" >]+)"
)


def _marked(root: Path, folder: str, kind: str) -> dict[str, str]:
    """What the pages of a folder have a table of this kind of, and the page."""
    found = {}
    for page in (root / "docs" / folder).glob("*.md"):
        for one, name in tables.MARKER.findall(page.read_text(encoding="utf-8")):
            found.update({name: page.name} if one == kind else {})
    return found


@pytest.mark.parametrize("kind", ["options", "fits", "slim"])
def test_every_loss_has_a_page(root: Path, kind: str) -> None:
    pages = _marked(root, "methods", kind)
    assert sorted(pages) == registered(DistillLoss), "a loss needs docs/methods/NAME.md and a line in mkdocs.yml"


@pytest.mark.parametrize("kind", ["configurations", "entries", "losses"])
def test_every_detector_has_a_page(root: Path, kind: str) -> None:
    pages = _marked(root, "detectors", kind)
    assert sorted(pages) == registered(Detector), "a detector needs docs/detectors/NAME.md and a line in mkdocs.yml"


@pytest.mark.parametrize("loss", registered(DistillLoss))
def test_every_setting_of_a_loss_is_explained(loss: str) -> None:
    shown = settings.settings_of(loss)
    assert [one.name for one in shown if not one.meaning] == []
    parameters = lookup(loss, "tests").parameters
    assert {one.name.partition(".")[0] for one in shown} == set(parameters) - set(settings.GIVEN) | {"weight"}


def test_defaults_are_shown_as_yaml_has_them() -> None:
    shown = {one.name: one.default for one in settings.settings_of("MGD")}
    assert shown["alpha_mgd"] == "2e-05"
    assert shown["align_bias"] == "true"
    assert shown["consumes"] == "[neck]"
    assert shown["strides"] == "-"
    assert {one.name: one.default for one in settings.settings_of("GlobalKnowledge")}["prototypes.count"] == "10"


def test_docstrings_of_all_three_forms_are_read() -> None:
    text = "It.\n\nArgs:\n    a: one\n        and more.\n    b: :func:`x.y.two`.\n\n"
    text += "Raises:\n    c: no.\n\nKeys:\n    d: ``3``."
    assert settings.described(text) == {"a": "one and more.", "b": "`two`.", "d": "`3`."}


def test_measured_rows_come_with_the_student_alone() -> None:
    shown = tables.measured("CWD").splitlines()
    firsts = [row.split("|")[1].strip() for row in shown if row.startswith("|")]
    assert any(first.startswith("CWD") for first in firsts)
    assert {"student alone", "baseline"} & set(firsts)
    assert not any(first.startswith(("FGD", "LD")) for first in firsts)
    assert "Nothing" in tables.measured("NoSuchMethod")


def test_the_gains_that_advice_rests_on_are_those_that_were_measured(root: Path) -> None:
    advice, measured = ((root / "docs" / name).read_text(encoding="utf-8") for name in ("choosing.md", "tables.md"))
    gains = re.findall(r"[+-]\d+\.\d(?: ± \d+\.\d)?", advice)
    assert len(gains) > 4
    assert [gain for gain in gains if gain not in measured] == []


def test_links_out_of_the_documentation_lead_to_pages_of_the_site(root: Path) -> None:
    page = "[a](../../slim/distill/cwd.yml), [b](../tables.md#x), [c](https://x.org/y.md), [d](../../CHANGELOG.md)"
    assert repository.linked({"methods/cwd.md": page}, root) == ["CHANGELOG.md", "slim/distill/cwd.yml"]
    shown = repository.relinked(page, "methods/cwd.md")
    assert "[a](../files/slim/distill/cwd.yml.md)" in shown
    assert "[b](../tables.md#x), [c](https://x.org/y.md)" in shown
    assert "[d](../files/CHANGELOG.md)" in shown
    assert repository.relinked("[e](docs/data.md)", "files/README.md") == "[e](../data.md)"


def test_a_formula_is_a_picture_of_its_size_with_its_source() -> None:
    narrow, wide = formulas.svg("x"), formulas.svg(r"\frac{x < y}{2}")
    width, height = (float(re.search(rf'{side}="([\d.]+)"', wide)[1]) for side in ("width", "height"))
    assert 20 < width < 60
    assert 20 < height < 60
    assert r'aria-label="\frac{x &lt; y}{2}"' in wide
    assert float(re.search(r'width="([\d.]+)"', narrow)[1]) < width


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "WARNING" not in done.stderr
    return folder


@pytest.mark.slow
def test_the_site_builds_and_nothing_in_it_comes_from_the_network(site: Path) -> None:
    pages = {page.relative_to(site).as_posix(): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}
    assert {"index.html", "methods/fgd.html", "detectors/gfl.html", "api.html", "404.html"} <= set(pages)
    for name, page in pages.items():
        loaded = [one or other for one, other in LOADED.findall(page)]
        assert loaded, name
        assert [one for one in loaded if "//" in one] == [], name
        assert "fonts.g" not in page
        assert "<!-- table" not in page
        missing = [one for one in loaded if not (site / name).parent.joinpath(one.partition("?")[0]).resolve().exists()]
        assert missing == [] or name == "404.html", name
    assert 'href="methods/cwd.html"><code>CWD</code>' in pages["methods.html"]
    assert "<code>gamma_fgd</code>" in pages["methods/fgd.html"]
    assert '<svg role="img"' in pages["methods/fgd.html"]
    assert "resume" in pages["api.html"]
    assert ":class:" not in pages["api.html"]
    assert "files/slim/distill/fgd.yml.html" in pages

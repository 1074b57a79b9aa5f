from __future__ import annotations

import re
import subprocess
import sys

import pytest

from ppkd.config import register
from ppkd.config.registry import _COMPONENTS
from ppkd.distill import DistillLoss
from ppkd.distill.losses.pkd import PKD
from ppkd.distill.methods import CLASSES, example, markdown, methods, registered, table
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError

LIGHT = """
import runpy, sys
sys.argv = [{path!r}, "--help"]
try:
    runpy.run_path({path!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"paddle", "numpy", "cv2", "pydantic", "rich"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(scope="module")
def found(root):
    return {method.name: method for method in methods(root / "configs")}


def test_the_page_is_what_the_tool_prints(root):
    command = [sys.executable, "tools/methods.py", "--markdown"]
    printed = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    page = (root / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page == printed, "docs/methods.md is out of date: python tools/methods.py --markdown > docs/methods.md"


def test_help_loads_nothing_heavy(root):
    path = str(root / "tools" / "methods.py")
    subprocess.run([sys.executable, "-c", LIGHT.format(path=path)], check=True, capture_output=True, cwd="/")


def test_a_loss_on_necks_takes_every_pair_and_one_on_distributions_those_that_record_them(found):
    detectors = set(found["FGD"].teachers)
    assert {"GFL", "RetinaNet", "YOLOv3"} <= detectors
    assert all(set(teachers) == detectors for teachers in found["FGD"].teachers.values())
    assert found["LD"].teachers["GFL"] and not found["LD"].teachers["RetinaNet"]
    assert found["YOLOv3FineGrained"].teachers["YOLOv3"] == ("YOLOv3",)


def test_what_a_loss_consumes_says_whether_it_looks_at_boxes(found):
    assert found["FGD"].consumes == (("neck", "boxes"),)
    assert found["CWD"].consumes == (("neck",),)
    assert len(found["OutputL2"].consumes) > 1


PAPER = r"\d{4}\.\d{4,5}|\w{11}"
"""A number of arXiv, or an id of OpenReview."""


WITHOUT = {"DistillPPYOLOELoss", "ScoreWeighted"}
"""Methods of PaddleDetection and of Ultralytics that were published as code alone."""


def test_every_loss_of_the_package_names_its_paper(found):
    wrong = {name for name, method in found.items() if not re.fullmatch(PAPER, method.paper)}
    assert wrong == WITHOUT


def test_a_new_loss_is_in_the_table_without_a_list_to_edit(root, found):
    class Correlation(PKD):
        """A loss of nobody's paper."""

        paper = ""

    register(Correlation)
    try:
        new = methods(root / "configs")
        assert {method.name for method in new} == {*found, "Correlation"}
        assert re.search(r"^\| `Correlation` \| `neck` \| - \| DETR, FasterRCNN, GFL, ", markdown(new), re.M)
        assert table(new).row_count == len(new)
    finally:
        del _COMPONENTS["Correlation"]
    assert "Correlation" not in registered(DistillLoss)


def test_an_example_is_the_detector_asked_for(root, tmp_path):
    built = build_detector(example("GFL", root / "configs"))
    assert (type(built).__name__, built.spec().num_classes) == ("GFL", CLASSES)
    with pytest.raises(ConfigError, match="architecture: GFL"):
        example("GFL", tmp_path)

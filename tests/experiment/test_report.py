"""The page about a run: written by a training, again by the command, sound in a browser."""

from __future__ import annotations

import re

import pytest
from browser import chromium, least_contrast, show, sound
from commands import call

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.engine.hooks.results import FILE_NAME as RESULTS
from ppkd.experiment import train
from ppkd.experiment.report import FILE_NAME, report_training

CONFIG = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
READERS = ("TrainReader.sample_transforms.2", "EvalReader.sample_transforms.1")
LEGIBLE = 4.5
"""WCAG 2's contrast AA for texts of usual size."""


@pytest.fixture(scope="module")
def runs(root, tmp_path_factory, logger_as_before):
    """A detector alone, and one that it taught: one epoch each, evaluated."""
    folder = tmp_path_factory.mktemp("runs")
    draw_shapes(folder / "data", images_train=8, images_val=6, size=64, seed=1)
    own = [f"{key}.dataset_dir={folder / 'data'}" for key in ("TrainDataset", "EvalDataset")]
    own += [f"{reader}.Resize.target_size=[64,64]" for reader in READERS]
    own += ["epoch=1", "worker_num=0", "TrainReader.batch_size=4", f"save_dir={folder}", "preflight.evaluate=false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        alone = train(load_config(CONFIG, [*own, "filename=alone"]), evaluate=True)
        slim = load_config("slim/distill/yolov3_l2.yml", [f"teacher={alone}"])
        distilled = train(load_config(CONFIG, [*own, "filename=<b>distilled"]), slim, evaluate=True)
    return alone, distilled


@pytest.mark.slow
def test_a_training_leaves_its_page(runs):
    alone, distilled = ((folder / FILE_NAME).read_text(encoding="utf-8") for folder in runs)
    for title in ("Summary", "Training", "Classes", "Thresholds", "Confusions", "Errors", "Data", "Training images"):
        assert f"<h2>{title}</h2>" in alone
    assert "teacher:" in distilled
    assert "<h2>Loss l2</h2>" in distilled
    assert "<h2>Loss" not in alone
    assert "teacher:" not in alone
    assert "distilled by l2" in distilled
    assert "<b>distilled" not in distilled
    assert "&lt;b&gt;distilled" in distilled
    assert len(distilled) < 3_000_000
    assert f"Report: {runs[0] / FILE_NAME}" in (runs[0] / "train.log").read_text()


@pytest.mark.slow
def test_the_command_writes_it_again_with_a_baseline_from_results_that_are_there(runs, root):
    alone, distilled = runs
    before = (distilled / "bbox.json").stat().st_mtime_ns
    code, said = call(root / "tools/report.py", str(distilled), "--baseline", str(alone), folder=root)
    assert (code, said.splitlines()[-1]) == (0, str(distilled / FILE_NAME))
    assert "is evaluated" not in said
    assert (distilled / "bbox.json").stat().st_mtime_ns == before
    text = (distilled / FILE_NAME).read_text(encoding="utf-8")
    assert "<h2>Gained and lost</h2>" in text
    assert re.search(r"Against alone: \d+ images are answered better", text)


@pytest.mark.slow
def test_the_losses_are_shown_before_and_after_training(runs, root):
    code, said = call(root / "tools/explain.py", str(runs[1]), "--count", "2", folder=root)
    assert (code, said.splitlines()[-1]) == (0, str(runs[1] / "explain.html"))
    text = (runs[1] / "explain.html").read_text(encoding="utf-8")
    assert "<h2>Weight of the losses</h2>" in text
    images = set(re.findall(r"<h3>(\S+), stride", text))
    assert len(images) == 2
    name = sorted(images)[0]
    code, _ = call(root / "tools/explain.py", str(runs[1]), "--images", name, folder=root)
    assert code == 0
    text = (runs[1] / "explain.html").read_text(encoding="utf-8")
    assert set(re.findall(r"<h3>(\S+), stride", text)) == {name}
    for when in ("before", "after"):
        assert re.search(rf"gradient \(\w+\), {when} training: largest [1-9\d.e-]+", text)
    code, said = call(root / "tools/explain.py", str(runs[1]), "--images", "nowhere.jpg", folder=root)
    assert code == 1
    assert "error: --images nowhere.jpg: no such image in EvalDataset" in said
    code, said = call(root / "tools/explain.py", str(runs[0]), folder=root)
    assert code == 1
    assert "only a distillation with an EvalDataset and weights can be explained" in said


@pytest.mark.slow
def test_a_page_that_fails_is_a_line_of_warning(runs, tmp_path, caplog):
    (tmp_path / "config.yml").write_bytes((runs[0] / "config.yml").read_bytes())
    (tmp_path / RESULTS).write_text("epoch,loss\n0,many\n")
    report_training(tmp_path)
    assert not (tmp_path / FILE_NAME).exists()
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "expected a number for 'loss', found 'many'" in warnings[0]
    assert f"`ppkd report {tmp_path}` tries again" in warnings[0]


def test_a_folder_without_a_run_is_refused(tmp_path, root):
    code, said = call(root / "tools/report.py", str(tmp_path), folder=root)
    assert code == 1
    assert f"error: {tmp_path} has no config.yml, so it is no run's folder" in said


@pytest.mark.slow
@pytest.mark.parametrize(("width", "theme"), [(1200, "light"), (390, "dark")])
def test_the_page_is_sound_in_a_browser(runs, tmp_path, width, theme):
    with chromium(tmp_path / "profile") as browser:
        show(browser, runs[1] / FILE_NAME, width=width, theme=theme)
        sound(browser)
        grounds = set()
        for _ in range(2):
            ratio, text = least_contrast(browser)
            assert ratio >= LEGIBLE, text
            grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
            browser.find_element("id", "theme").click()
        assert len(grounds) == 2
        table = browser.find_element("css selector", "#classes table")
        heads = table.find_elements("css selector", "th")
        for name in ("objects", "class"):
            column = [head.text for head in heads].index(name)
            orders = []
            for _ in range(2):
                heads[column].find_element("css selector", "button").click()
                cells = table.find_elements("css selector", f"td:nth-child({column + 1})")
                orders.append([float(cell.text) if name == "objects" else cell.text for cell in cells])
            assert orders[0] == orders[1][::-1]
            assert sorted(orders[0]) in orders
        sound(browser)

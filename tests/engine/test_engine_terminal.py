"""What a person at a terminal sees of a training, and what a run says at its beginning and end."""

from __future__ import annotations

import logging

import pytest
from engine_toy import make_trainer

from ppkd.config import Runtime
from ppkd.engine.hooks import terminal
from ppkd.engine.hooks.log import LogLines
from ppkd.engine.hooks.terminal import TerminalTable, row, spent
from ppkd.engine.position import Position
from ppkd.experiment.told import check_baseline, headline_of, tell_end
from ppkd.utils import progress
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import SHOWN, calm_console, get_logger, setup_logger

pytestmark = pytest.mark.usefixtures("logger_as_before")
TERMS = {"loss_a": 1.23456, "loss_b": 20.0, "kd": 0.5, "loss": 21.73456}


def test_a_row_has_few_digits_and_as_many_terms_as_fit():
    names, cells = row(2, 12, 0.00123456, TERMS, {"AP": 0.3456, "AP50": 0.6, "AP75": -1.0, "AR1": 0.1}, 80)
    assert names == ["epoch", "lr", "loss", "loss_a", "loss_b", "AP", "AP50", "AP75"]
    assert cells[:6] == ["3/12", "0.0012", "21.735", "1.235", "20.000", "34.6"]
    names, cells = row(0, 12, 1e-5, TERMS, {}, 200)
    assert names[-4:] == ["kd", "AP", "AP50", "AP75"]
    assert cells[-3:] == ["-", "-", "-"]
    assert row(0, 1, 0.1, TERMS, {"mAP": 0.5}, 30)[0] == ["epoch", "lr", "loss", "mAP"]


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (61.4, "1:01"), (3600, "1:00:00"), (90061, "25:01:01")])
def test_time_that_is_left(seconds, text):
    assert spent(seconds) == text


def test_the_screen_gets_a_row_for_each_epoch_and_the_file_every_line(tmp_path, capsys, monkeypatch):
    for module in (terminal, progress):
        monkeypatch.setattr(module, "on_terminal", lambda: True)
    setup_logger(tmp_path)
    trainer = make_trainer(tmp_path, extra=[TerminalTable(), LogLines(1)])
    trainer.train()
    screen = capsys.readouterr().out
    assert screen.count(" learning_rate: ") == 0
    heading = next(line for line in screen.splitlines() if "loss_a" in line)
    assert heading.split()[-6:] == ["loss", "loss_a", "loss_b", "AP", "AP50", "AP75"]
    for epoch in range(trainer.epochs):
        assert f"{epoch + 1}/{trainer.epochs}" in screen
    assert (tmp_path / "train.log").read_text().count(" learning_rate: ") >= trainer.epochs * 5
    get_logger("ppkd.engine").info("as before")
    assert "as before" in capsys.readouterr().out


def test_a_calm_console_shows_warnings_and_what_must_be_seen(capsys):
    setup_logger()
    logger = get_logger("ppkd.engine")
    with calm_console():
        logger.info("a line")
        logger.warning("a warning")
        logger.info("continue with", extra=SHOWN)
    said = capsys.readouterr().out
    assert ("a line" in said, "a warning" in said, "continue with" in said) == (False, True, True)


def test_the_end_says_what_was_gained_and_how_to_export(tmp_path, caplog):
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run, other):
        folder.mkdir()
        (folder / "config.yml").write_text("")
    (run / "best_model.pdparams").write_text("")
    (other / "results.csv").write_text("epoch,loss,AP\n0,1,\n1,1,0.3\n2,1,0.25\n")
    check_baseline(other)
    logger = logging.getLogger("ppkd")
    logger.propagate, logger.handlers[:] = True, []
    with caplog.at_level(logging.INFO, "ppkd"):
        tell_end(run, Runtime("GFL"), Position(best=0.345, best_epoch=4), other)
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == f"Best AP 34.5 after epoch 5, +4.5 over {other}"
    assert said[1] == f"Weights: {run / 'best_model.pdparams'}, all results: {run}"
    assert said[2].endswith(f"export -c {run / 'config.yml'} -o weights={run / 'best_model'}")


def test_a_baseline_is_an_evaluated_run(tmp_path):
    with pytest.raises(ConfigError, match=r"has no config.yml, so it is no run's folder"):
        check_baseline(tmp_path)
    (tmp_path / "config.yml").write_text("")
    with pytest.raises(ConfigError, match=r"neither results.csv nor metrics.json: evaluate that run first"):
        check_baseline(tmp_path)
    assert headline_of(Runtime("GFL", metric="VOC")) == "mAP"
    assert headline_of(Runtime("GFL", best_by="AP50")) == "AP50"
    assert headline_of(Runtime("GFL", metric="VOC", map_type="coco_style")) == "AP"

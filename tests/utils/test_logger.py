"""Log lines and progress bars on the console and in the run's file."""

from __future__ import annotations

import logging
import re

import pytest

from ppkd.utils import progress
from ppkd.utils.logger import record, setup_logger

pytestmark = pytest.mark.usefixtures("logger_of_a_test")


def test_log_lines_have_paddledetections_form_on_console_and_in_the_file(tmp_path, capsys):
    setup_logger(tmp_path)
    logging.getLogger("ppkd.engine").info("text")
    record(logging.ERROR, "for the file")
    console, file = capsys.readouterr().out, (tmp_path / "train.log").read_text()
    line = r"\[\d\d/\d\d \d\d:\d\d:\d\d\] ppkd.engine INFO: text\n"
    assert re.fullmatch(line, console)
    assert re.fullmatch(line + r"\[.*\] ppkd ERROR: for the file\n", file)


def test_processes_behind_the_first_log_warnings_and_errors_with_their_number(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PADDLE_TRAINER_ID", "1")
    setup_logger(tmp_path)
    logging.getLogger("ppkd.engine").info("text")
    assert capsys.readouterr().out == "" and not (tmp_path / "train.log").exists()
    logging.getLogger("ppkd.engine").warning("an image is broken")
    for text in (capsys.readouterr().out, (tmp_path / "train.log").read_text()):
        assert text.endswith("WARNING: (process 1) an image is broken\n")


def test_progress_is_silent_or_plain_lines_away_from_a_terminal(capsys):
    setup_logger()
    with progress.progress("Quiet", 3) as bar:
        bar.advance()
    assert capsys.readouterr().out == ""
    with progress.progress("Fetch", 4, interval=0.0) as bar:
        bar.advance(3, note="slow")
    assert capsys.readouterr().out.endswith("ppkd.utils INFO: Fetch: 3/4 (75%) slow\n")


def test_progress_on_a_terminal_lets_log_lines_through(capsys, monkeypatch):
    setup_logger()
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    with progress.progress("Epoch 0", 2) as bar:
        logging.getLogger("ppkd.engine").info("a line")
        bar.advance(1, note="loss 1.0")
    assert "a line" in capsys.readouterr().out

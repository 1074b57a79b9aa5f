from __future__ import annotations

import argparse
import logging
import re
import subprocess
import sys
import time

import pytest

from ppkd.utils import cli, progress
from ppkd.utils.errors import ConfigError, TrainingError
from ppkd.utils.logger import record, setup_logger

TOOLS = ("train.py", "eval.py")
GENEROUS_SECONDS = 3.0
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


@pytest.fixture(autouse=True)
def _logger_as_before():
    root = logging.getLogger("ppkd")
    before = (root.level, root.propagate, list(root.handlers))
    yield
    root.level, root.propagate = before[:2]
    root.handlers[:] = before[2]


@pytest.mark.parametrize("tool", TOOLS)
def test_help_answers_at_once_and_loads_nothing_heavy(root, tool):
    path = str(root / "tools" / tool)
    subprocess.run([sys.executable, "-c", LIGHT.format(path=path)], check=True, capture_output=True, cwd="/")
    started = time.perf_counter()
    done = subprocess.run([sys.executable, path, "--help"], check=True, capture_output=True, text=True, cwd="/")
    assert time.perf_counter() - started < GENEROUS_SECONDS
    assert "--slim_config" in done.stdout


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("1", True), ("0", False), ("YES", True), ("off", False)]
)
def test_booleans_in_any_usual_spelling(text, value):
    assert cli.boolean(text) is value


def test_a_flag_may_stand_alone_or_take_a_value():
    parser = argparse.ArgumentParser()
    cli.add_flag(parser, "--use_vdl", "")
    parsed = [
        parser.parse_args(args).use_vdl for args in ([], ["--use_vdl"], ["--use_vdl=false"], ["--use_vdl", "true"])
    ]
    assert parsed == [False, True, False, True]
    with pytest.raises(SystemExit):
        parser.parse_args(["--use_vdl=maybe"])


@pytest.fixture
def files(tmp_path):
    (tmp_path / "a.yml").write_text("epoch: 3\nTrainReader: {batch_size: 8}\n")
    (tmp_path / "slim.yml").write_text("slim: Distill\nepoch: 99\nlosses: {l2: {weight: 1}}\n")
    return tmp_path


def test_overrides_win_over_both_files_and_the_slim_file_changes_nothing_of_the_student(files):
    both = ["-c", str(files / "a.yml"), "--slim_config", str(files / "slim.yml")]
    overrides = ["-o", "TrainReader.batch_size=2", "-o", "slim.losses.l2.weight=5", "log_iter=1"]
    args = cli.parser("").parse_args([*both, *overrides])
    cfg, slim = cli.load(args)
    assert slim is not None
    assert (cfg["epoch"], cfg["TrainReader"]["batch_size"], cfg["log_iter"]) == (3, 2, 1)
    assert slim.at("losses.l2.weight") == 5
    assert "losses" not in cfg


def test_a_slim_override_without_a_slim_file_is_refused(files):
    args = cli.parser("").parse_args(["-c", str(files / "a.yml"), "-o", "slim.losses.l2.weight=5"])
    with pytest.raises(ConfigError, match="no --slim_config"):
        cli.load(args)


def run(main, capsys):
    code = cli.run(main, argparse.ArgumentParser(), [])
    return code, capsys.readouterr()


def test_a_users_mistake_is_one_line_without_a_traceback(capsys):
    def main(args):
        raise TrainingError("step 3: loss is nan")

    code, output = run(main, capsys)
    assert code == 1
    assert output.err == "error: step 3: loss is nan\n"


def test_a_folder_that_the_system_refuses_is_one_line_too(tmp_path, capsys):
    (tmp_path / "file").write_text("")

    def main(args):
        setup_logger(tmp_path / "file" / "run")

    code, output = run(main, capsys)
    assert code == 1
    assert re.fullmatch(r"error: .*file.*Not a directory.*\n", output.err)


def test_exit_codes_of_success_and_interrupts(capsys):
    from ppkd.engine.signals import Interrupted

    def interrupted(error):
        def main(args):
            raise error

        return main

    assert run(lambda args: None, capsys)[0] == 0
    assert run(interrupted(KeyboardInterrupt()), capsys)[0] == 130
    assert run(interrupted(Interrupted(15)), capsys)[0] == 143


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


@pytest.mark.parametrize(
    ("flag", "today"),
    [
        ("-t", "-o slim.teacher.config=YML"),
        ("--teacher_config=t.yml", "-o slim.teacher.config=YML"),
        ("--teacher_pretrained=t.pdparams", "-o slim.teacher.weights=PATH"),
        ("--fp16", "write --amp"),
    ],
)
def test_a_flag_of_older_tools_is_answered_with_todays(root, flag, today):
    command = [sys.executable, str(root / "tools/train.py"), "-c", "a.yml", flag]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 2
    assert today in done.stderr

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time

import pytest

from ppkd.cli import flags
from ppkd.cli.command import Command
from ppkd.cli.main import NAMES, main
from ppkd.utils.errors import ConfigError, TrainingError
from ppkd.utils.logger import setup_logger

GENEROUS_SECONDS = 3.0
LIGHT = """
import runpy, sys
sys.argv = ["ppkd", *{arguments!r}]
try:
    runpy.run_module("ppkd", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
heavy = {{"paddle", "numpy", "cv2", "pydantic", "rich", "yaml"}} & set(sys.modules)
assert not heavy, heavy
"""


pytestmark = pytest.mark.usefixtures("logger_of_a_test")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in NAMES)], ids=" ".join)
def test_help_answers_at_once_and_loads_nothing_heavy(root, arguments):
    code = LIGHT.format(arguments=arguments)
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert time.perf_counter() - started < GENEROUS_SECONDS
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(" ".join(["usage: ppkd", *arguments[:-1]]))


def test_every_command_has_a_line_in_the_overview(capsys):
    assert main([]) == 2
    shown = capsys.readouterr().out
    assert [name for name in NAMES if not re.search(rf"^  {name} +[A-Z]", shown, re.M)] == []


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert main(["trian", "-c", "a.yml"]) == 2
    assert capsys.readouterr().err == "error: there is no command 'trian'; did you mean 'train'?\n"


@pytest.mark.parametrize("tool", ["train.py", "eval.py", "infer.py", "export_model.py", "compare.py", "methods.py"])
def test_the_tools_of_a_clone_are_the_same_commands(root, tool):
    path = str(root / "tools" / tool)
    name = tool.partition("_")[0].removesuffix(".py")
    done = subprocess.run([sys.executable, path, "--help"], check=True, capture_output=True, text=True, cwd="/")
    of_ppkd = subprocess.run([sys.executable, "-m", "ppkd", name, "--help"], capture_output=True, text=True, cwd=root)
    words = [text.replace(f"ppkd {name}", tool).split() for text in (done.stdout, of_ppkd.stdout)]
    assert words[0] == words[1]


@pytest.mark.parametrize("module", ["ppkd.cli.main", "ppkd.cli.train"])
def test_an_older_python_is_refused_in_one_line(root, module):
    code = f"import sys; sys.version_info = (3, 9, 18, 'final', 0); import {module}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 1
    assert done.stderr == f"error: ppkd needs Python 3.11 or newer; {sys.executable} is 3.9.18\n"


def test_a_missing_package_is_one_line_that_names_it_and_the_doctor(root):
    code = "import sys; sys.modules['yaml'] = None; from ppkd.cli.main import main; sys.exit(main(['methods']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"error: .*yaml.*`ppkd doctor`.*\n", done.stderr)


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("False", False), ("1", True), ("0", False), ("YES", True), ("off", False)]
)
def test_booleans_in_any_usual_spelling(text, value):
    assert flags.boolean(text) is value


def test_a_flag_may_stand_alone_or_take_a_value():
    parser = argparse.ArgumentParser()
    flags.add_flag(parser, "--use_vdl", "")
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
    args = flags.parser("").parse_args([*both, *overrides])
    cfg, slim = flags.load(args)
    assert slim is not None
    assert (cfg["epoch"], cfg["TrainReader"]["batch_size"], cfg["log_iter"]) == (3, 2, 1)
    assert slim.at("losses.l2.weight") == 5
    assert "losses" not in cfg


def test_a_slim_override_without_a_slim_file_is_refused(files):
    args = flags.parser("").parse_args(["-c", str(files / "a.yml"), "-o", "slim.losses.l2.weight=5"])
    with pytest.raises(ConfigError, match="no --slim_config"):
        flags.load(args)


def run(main, capsys):
    code = Command(argparse.ArgumentParser, main)([])
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

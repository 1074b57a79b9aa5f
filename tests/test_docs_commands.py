"""Every command that the documentation shows is one: its flags, its files, its configurations, and its settings."""

from __future__ import annotations

import importlib
import re
import shlex
from argparse import Namespace
from pathlib import Path

import pytest
from docs_pages import Line, blocks, commands

from ppkd.cli.command import Command
from ppkd.cli.main import NAMES
from ppkd.config import check, load_config, split_overrides
from ppkd.config.find import find_config

pytestmark = pytest.mark.usefixtures("no_plugins")

ROOT = Path(__file__).resolve().parents[1]
LINES = list(commands(ROOT))
ELSEWHERE = ("pip", "scp", "./quickstart.sh", "./tests/run.sh", "cd", "git")
"""Commands of others, and those that other tests run."""
MMRAZOR = ("CONFIG.py", "work_dirs/")
"""What only commands of MMRazor have."""
NOT_SHIPPED = re.compile(r"[A-Z]{2,}|^output/|^(student|my|chain)\.yml$|configs/slim/|^NAME/|^foreign")
"""Names that stand for a file of the user's, or of another toolkit."""


def test_there_are_commands_to_check() -> None:
    assert len(LINES) > 100
    assert {line.words[0] for line in LINES} <= {"ppkd", "python", "mkdocs", *ELSEWHERE}


def _of_ppkd(line: Line) -> bool:
    return line.words[0] not in (*ELSEWHERE, "mkdocs") and not any(one in str(line) for one in MMRAZOR)


@pytest.mark.parametrize("line", list(filter(_of_ppkd, LINES)), ids=str)
def test_command_of_the_documentation(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    script, arguments = _script(line.words)
    if script in NAMES:
        _check(importlib.import_module(f"ppkd.cli.{script.replace('-', '_')}").command, arguments)
    elif script == "pytest":
        assert [path for path in arguments if path.startswith("tests/") and not _exists(path)] == []
    elif not NOT_SHIPPED.search(script):
        assert (ROOT / script).is_file()
        if found := re.search(r"from (ppkd\.cli\.\w+) import command", (ROOT / script).read_text(encoding="utf-8")):
            _check(importlib.import_module(found[1]).command, arguments)


def _script(words: tuple[str, ...]) -> tuple[str, list[str]]:
    """The command of ppkd or the script that a line runs, and its arguments."""
    rest = list(words[1:])
    if words[0] == "ppkd":
        return rest[0], rest[1:]
    if rest[:1] == ["-m"]:
        if rest[1] == "paddle.distributed.launch":
            place = next(i for i, word in enumerate(rest) if word.endswith(".py"))
            return rest[place], rest[place + 1 :]
        return (rest[2], rest[3:]) if rest[1] == "ppkd" else (rest[1], rest[2:])
    return rest[0], rest[1:]


def _check(command: Command, arguments: list[str]) -> None:
    """The real parser takes the arguments; what they name is there, and a configuration has the keys that are set."""
    try:
        args = command.parser().parse_args(arguments)
    except SystemExit as ended:
        assert ended.code == 0, "the parser refuses it"
        return
    own, of_slim = split_overrides([one for one in getattr(args, "opt", []) if "=" in one])
    if path := _shipped(args, "slim_config"):
        load_config(path, of_slim)
    if (path := _shipped(args, "config")) and "benchmarks/" not in path:
        check(load_config(path, own))


def _shipped(args: Namespace, flag: str) -> str | None:
    """The path of a configuration that is named, unless it stands for one of the user's."""
    name = getattr(args, flag, None)
    return find_config(name) if name and not NOT_SHIPPED.search(name) else None


def _exists(pattern: str) -> bool:
    names = re.sub(r"::.*", "", pattern)
    options = re.search(r"\{(.*)\}", names)
    spelled = [names.replace(options[0], one) for one in options[1].split(",")] if options else [names]
    return all((ROOT / one).exists() for one in spelled)


def test_both_readmes_show_the_same_commands() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
    shown = [[_bare(block) for block in blocks(text, "bash", "python")] for text in (english, chinese)]
    assert len(shown[0]) > 5
    assert shown[0] == shown[1]
    tables = [re.findall(r"^\|.*\d.*\|$", text, re.MULTILINE) for text in (english, chinese)]
    numbers = [[re.findall(r"\d+\.\d+", row) for row in table] for table in tables]
    assert numbers[0] == numbers[1]


def _bare(block: str) -> list[str]:
    """The lines of a block without comments, which are in the page's language."""
    return [" ".join(words) for line in block.splitlines() if (words := shlex.split(line, comments=True, posix=False))]


@pytest.mark.slow
def test_the_five_minutes_in_their_reduced_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger_as_before: None
) -> None:
    """Less is drawn and trained, and nothing is evaluated before the first step; the commands are those of the page."""
    monkeypatch.chdir(tmp_path)
    by_hand = [line.words[1:] for line in LINES if line.page == "docs/start.md"][3:]
    assert [words[0] for words in by_hand] == ["draw-shapes", "train", "train", "eval", "infer", "export", "deploy"]
    less = ["-o", "worker_num=0", "TrainReader.batch_size=4", "epoch=1", "preflight.evaluate=false"]
    reduced = {"draw-shapes": ["--train", "8", "--val", "4"], "train": less, "eval": ["-o", "worker_num=0"]}
    for name, *arguments in by_hand:
        command = importlib.import_module(f"ppkd.cli.{name.replace('-', '_')}").command
        assert command([*arguments, *reduced.get(name, [])]) == 0, name
    exported = tmp_path / "output_inference/yolov3_mobilenet_v1_x0.25_160_shapes"
    assert (exported / "model.json").is_file()
    assert len(list((tmp_path / "output/infer").rglob("*.jpg"))) == 4

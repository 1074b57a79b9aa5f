"""Components from outside the package: found when they are asked for, named when they are broken."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from ppkd.config import build, load_config, plugins
from ppkd.utils.errors import ConfigError

CODE = """
from ppkd.config import register

@register
class {name}:
    def __init__(self, *, strength: float = 1.0) -> None:
        self.strength = strength
"""


pytestmark = pytest.mark.usefixtures("no_plugins")


def config(folder: Path, text: str, *overrides: str) -> object:
    path = folder / "c.yml"
    path.write_text(text)
    return load_config(path, list(overrides))


def test_a_file_beside_the_configuration_or_of_the_command_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one.py").write_text(CODE.format(name="PluggedOne"))
    cfg = config(tmp_path, "plugins: [one.py]\nPluggedOne: {strength: 3}")
    assert build(cfg, "PluggedOne").strength == 3
    (tmp_path / "two.py").write_text(CODE.format(name="PluggedTwo"))
    monkeypatch.chdir(tmp_path)
    assert build(config(tmp_path, "a: 1", "plugins=[two.py]"), "PluggedTwo").strength == 1


def test_nothing_is_imported_before_it_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "writes.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    cfg = config(tmp_path, "plugins: [writes.py]")
    build(cfg, {"Permute": {}})
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import math\n1 / 0", "line 2, ZeroDivisionError: division by zero"),
        ("def f(:", "SyntaxError: "),
        ("import no_such_package", "line 1, ModuleNotFoundError: No module named 'no_such_package'"),
        (CODE.format(name="Permute"), "both register a component Permute"),
        (None, "FileNotFoundError: there is no file "),
    ],
)
def test_a_broken_one_is_named_where_it_is_used_and_nowhere_else(tmp_path: Path, code: str, reason: str) -> None:
    if code is not None:
        (tmp_path / "broken.py").write_text(code)
    (tmp_path / "whole.py").write_text(CODE.format(name="PluggedWhole"))
    cfg = config(tmp_path, "plugins: [broken.py, whole.py]\nnum_classes: 2")
    assert build(cfg, "PluggedWhole").strength == 1
    with pytest.raises(
        ConfigError, match=r"there is no component 'MyLoss'.*; the plug-in .*broken\.py cannot be"
    ) as found:
        build(cfg, "MyLoss")
    assert reason in str(found.value)


def test_entry_points_register_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugged_package.py").write_text(CODE.format(name="PluggedPackage"))
    monkeypatch.syspath_prepend(tmp_path)
    point = metadata.EntryPoint("mine", "plugged_package", plugins.GROUP)
    broken = metadata.EntryPoint("theirs", "no_such_package", plugins.GROUP)
    monkeypatch.setattr(plugins, "_entry_points", lambda: (point, broken))
    cfg = config(tmp_path, "a: 1")
    assert build(cfg, "PluggedPackage").strength == 1
    with pytest.raises(ConfigError, match=r"the plug-in theirs = no_such_package cannot be imported: Module"):
        build(cfg, "Unknown")


def test_what_is_no_list_of_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"c\.yml:1: plugins must be a list of Python files, such as \[my_loss\.py\]"):
        config(tmp_path, "plugins: one.py")

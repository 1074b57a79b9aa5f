"""Which package may know which: the engine trains anything, hooks don't know the trainer they belong to."""

from __future__ import annotations

import subprocess
import sys

import pytest

WALK = """
import pkgutil, sys, importlib
import ppkd.{package}
for module in pkgutil.walk_packages(ppkd.{package}.__path__, "ppkd.{package}."):
    importlib.import_module(module.name)
print(*sorted(name for name in sys.modules if name.startswith("ppkd.")))
"""


@pytest.mark.parametrize(
    ("package", "unknown"),
    [
        ("engine", ("ppkd.distill", "ppkd.experiment")),
        ("engine.hooks", ("ppkd.engine.trainer",)),
        ("models", ("ppkd.distill", "ppkd.engine", "ppkd.experiment")),
        ("distill", ("ppkd.experiment", "ppkd.engine.trainer")),
    ],
)
def test_a_package_is_imported_without_those_above_it(root, package, unknown):
    done = subprocess.run(
        [sys.executable, "-c", WALK.format(package=package)], cwd=root, capture_output=True, text=True, check=True
    )
    known = done.stdout.split()
    assert f"ppkd.{package}" in known
    assert not [name for name in known if any(name == above or name.startswith(f"{above}.") for above in unknown)]

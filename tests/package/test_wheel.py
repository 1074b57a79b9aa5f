"""A wheel of this clone, alone in a virtual environment: its contents, and its commands from another folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from email import message_from_bytes
from pathlib import Path

import pytest

from ppkd.data.shapes import draw_shapes
from ppkd.utils.installation import requirements

SOURCES = ("ppkd", "configs", "slim", "pyproject.toml", "setup.py", "README.md", "LICENSE")
STUDENT = "yolov3_mobilenet_v1_x0.25_160_shapes"
TEACHER = "yolov3_mobilenet_v1_x0.5_160_shapes"
Call = Callable[..., tuple[int, str]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the clone, which stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "clone"
    copy.mkdir()
    for source in (*(root / name for name in SOURCES), *root.glob("requirements*.txt")):
        if source.is_dir():
            shutil.copytree(source, copy / source.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    pip("wheel", "--no-deps", "--wheel-dir", folder, copy)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command in an environment with this wheel, which sees the packages of the running one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(sysconfig.get_path("purelib"))
    pip("--python", folder / "bin/python", "install", "--no-deps", wheel)
    return folder / "bin/ppkd"


@pytest.fixture
def call(program: Path, tmp_path: Path) -> Call:
    """Runs the command in an empty folder; gives the exit code and all that it said."""

    def run(*arguments: object) -> tuple[int, str]:
        command = [program, *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_wheel_has_all_code_all_configurations_and_nothing_else(wheel: Path, root: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    code = {str(path.relative_to(root)) for path in (root / "ppkd").rglob("*.py")}
    files = {f"ppkd/{path.relative_to(root)}" for top in ("configs", "slim") for path in (root / top).rglob("*.yml")}
    pages = {str(path.relative_to(root)) for path in (root / "ppkd/report/templates").iterdir()}
    assert names == code | files | pages


def test_the_wheel_asks_for_the_pinned_requirements(wheel: Path, root: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (file,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
    metadata = message_from_bytes(archive.read(file))
    pins = [f"{name}=={pin}" for name, pin in requirements().items()]
    files = {extra: root / f"requirements-{extra}.txt" for extra in ("onnx", "recommend")}
    lines = {extra: file.read_text(encoding="utf-8").splitlines() for extra, file in files.items()}
    extras = [f'{line}; extra == "{extra}"' for extra in lines for line in lines[extra] if not line.startswith("#")]
    assert metadata.get_all("Requires-Dist") == [*pins, *extras]
    assert metadata["Requires-Python"] == "<3.14,>=3.11"


def test_the_installed_command_knows_itself(call: Call, program: Path) -> None:
    code, said = call("--help")
    assert code == 0 and said.startswith("usage: ppkd COMMAND")
    code, said = call("doctor")
    assert code == 0, said
    assert f"configurations in {program.parents[1]}/lib/" in said
    assert "WRONG" not in said


def test_a_configuration_is_named_from_any_folder(call: Call) -> None:
    code, said = call("train", "-c", "retinanet_r50_fpn_1x_coc")
    assert (code, said.splitlines()[-1].split("?")[0]) == (
        1,
        "error: the configuration retinanet_r50_fpn_1x_coc does not exist; did you mean retinanet_r50_fpn_1x_coco or "
        "retinanet_r50_fpn_2x_coco or retinanet_r34_fpn_1x_coco",
    )
    code, said = call(
        "eval", "-c", "retinanet_r50_fpn_1x_coco", "-o", "weights=nowhere.pdparams", "pretrain_weights=null"
    )
    assert code == 1
    assert "dataset/coco" in said.splitlines()[-1]


def test_a_study_and_a_distillation_run_with_names_alone(call: Call, tmp_path: Path) -> None:
    draw_shapes(tmp_path / "dataset/shapes", images_train=4, images_val=2, size=160, seed=0)
    short = ["epoch=1", "TrainReader.batch_size=2", "worker_num=0"]
    (tmp_path / "chain.yml").write_text(
        f"options: [{', '.join(short)}]\n"
        f"links: {{teacher: {{config: {TEACHER}}}, student: {{config: {STUDENT}, slim: yolov3_l2}}}}\n"
    )
    code, said = call("chain", "-c", "chain")
    assert code == 0, said
    assert "| student |" in said
    study = tmp_path / "output/chain"
    assert len(list(study.glob("*/metrics.json"))) == 2
    assert re.search(r"Epoch: \[0\].* l2: \d", (study / "student/console.log").read_text(encoding="utf-8"))
    assert (study / "student/model_final.pdparams").is_file()
    teacher = [f"slim.teacher.config={TEACHER}", "slim.teacher.weights=output/chain/teacher/model_final"]
    distil = ["train", "-c", STUDENT, "--slim_config", "yolov3_l2", "-o", *short, *teacher, "filename=student"]
    code, said = call(*distil, "preflight.evaluate=false", "--dry_run")
    assert code == 0, said

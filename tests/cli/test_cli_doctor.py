"""What `ppkd doctor` says of sound and of damaged installations."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from ppkd.cli import doctor
from ppkd.utils import installation

AMD = "processor : 0\nvendor_id\t: AuthenticAMD\n"
INTEL = AMD.replace("AuthenticAMD", "GenuineIntel")
SOUND = {"version": "3.3.1", "cuda": True, "gpus": ["NVIDIA H100"]}


@pytest.fixture
def sound(monkeypatch):
    """An installation without fault, which single tests then damage."""
    pins = installation.requirements()
    versions = {**pins, "visualdl": ""}
    monkeypatch.setattr(installation, "version", lambda name: versions.get(name, ""))
    monkeypatch.setattr(installation, "probe_paddle", lambda: SOUND)
    monkeypatch.setattr(installation, "importlib", SimpleNamespace(import_module=lambda name: None))
    return versions


def report(capsys):
    code = doctor.command([])
    return code, capsys.readouterr().out


def lines(text):
    return {line[6:].split("  ")[0].strip(): line for line in text.split("\n\n")[0].splitlines()}


def test_a_sound_installation_has_a_line_for_everything_and_ends_with_0(sound, capsys):
    code, text = report(capsys)
    assert code == 0
    assert {"Python", "ppkd", "paddlepaddle", "devices", "threads", "processor", "visualdl", "optuna"} < set(
        lines(text)
    )
    assert set(installation.requirements()) < set(lines(text))
    assert "CPU, NVIDIA H100" in lines(text)["devices"]
    assert re.search(r"ppkd +0\.1\.0 +\d{3} configurations in ", text)
    assert "WRONG" not in text


def test_the_requirements_are_those_of_the_clone(root):
    text = "".join((root / name).read_text() for name in installation.PINS)
    named = re.findall(r"^([\w-]+)==([\w.]+)$", text, re.M)
    assert installation.requirements() == dict(named)
    assert len(named) > 8


def test_both_paddles_are_wrong(sound, capsys):
    sound["paddlepaddle-gpu"] = "3.3.1"
    code, text = report(capsys)
    assert code == 1
    assert "WRONG Paddle" in text and "pip uninstall -y paddlepaddle paddlepaddle-gpu" in text
    assert text.endswith("\nwrong: Paddle\n")


def test_the_paddle_for_gpus_is_as_good(sound, capsys):
    sound["paddlepaddle-gpu"] = sound.pop("paddlepaddle")
    code, text = report(capsys)
    assert code == 0
    assert "3.3.1" in lines(text)["paddlepaddle-gpu"]


@pytest.mark.parametrize(("installed", "said"), [("3.3.1", "cannot be imported: ended"), ("", "pip install paddle")])
def test_a_paddle_that_cannot_be_imported_is_wrong(sound, capsys, monkeypatch, installed, said):
    sound["paddlepaddle"] = installed
    monkeypatch.setattr(installation, "probe_paddle", lambda: "ended")
    code, text = report(capsys)
    assert code == 1
    assert said in lines(text)["Paddle"]


def test_a_probe_whose_process_dies_says_how(monkeypatch):
    monkeypatch.setattr(installation, "_PROBE", "import os; os.abort()")
    assert installation.probe_paddle() == "the process ended with -6"
    monkeypatch.setattr(installation, "_PROBE", "raise ImportError('libgomp.so.1 is not there')")
    assert installation.probe_paddle() == "ImportError: libgomp.so.1 is not there"


def test_packages_that_are_missing_damaged_or_of_another_version(sound, capsys, monkeypatch):
    def load(name):
        if name == "yaml":
            raise ModuleNotFoundError("No module named 'yaml'")
        if name == "cv2":
            raise ImportError("libGL.so.1: cannot open shared object file\nmore")

    monkeypatch.setattr(installation, "importlib", SimpleNamespace(import_module=load))
    sound["numpy"] = "2.4.6"
    code, text = report(capsys)
    assert code == 1
    assert f"pip install PyYAML=={sound['PyYAML']}" in lines(text)["PyYAML"]
    assert "cannot be imported: libGL.so.1: cannot open shared object file" in lines(text)["opencv-python-headless"]
    assert "2.4.6" in lines(text)["numpy"] and "tested with" in lines(text)["numpy"]
    assert text.splitlines()[-1] == "wrong: opencv-python-headless, PyYAML"


@pytest.mark.parametrize(
    ("cpu", "before", "now", "said"),
    [
        (AMD, "", "5", "MKL_DEBUG_CPU_TYPE=5 (set by ppkd): convolutions about 2.5 times faster"),
        (AMD, "4", "4", "MKL_DEBUG_CPU_TYPE=4 (from the environment): 5 makes convolutions about 2.5 times faster"),
        (INTEL, "", "", "MKL_DEBUG_CPU_TYPE unset: right, it helps AMD processors alone"),
        (INTEL, "5", "5", "MKL_DEBUG_CPU_TYPE=5 (from the environment): it helps AMD processors alone, unset it"),
    ],
)
def test_the_path_of_mkl_is_judged_by_the_vendor(tmp_path, monkeypatch, cpu, before, now, said):
    (tmp_path / "cpuinfo").write_text(cpu)
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", now)
    finding = doctor.mkl({"MKL_DEBUG_CPU_TYPE": before}, tmp_path / "cpuinfo")
    assert (finding.found, finding.note) == (cpu.split()[-1], said)


def test_the_command_looks_at_this_very_environment(root):
    done = subprocess.run([sys.executable, "-m", "ppkd", "doctor"], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stdout + done.stderr
    assert sys.executable in lines(done.stdout)["Python"]
    assert installation.version("paddlepaddle") in lines(done.stdout)["paddlepaddle"]

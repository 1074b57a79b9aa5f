"""TIPC: every txt is read right by position, and whole chains run on a copy of the clone without a network."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ppkd.config import check, load_config, split_overrides
from ppkd.distill.build import check_slim

TXT = sorted((Path(__file__).resolve().parents[1] / "test_tipc" / "configs").rglob("*.txt"))
KEYS = {
    1: "===train_params===",
    2: "model_name",
    9: "TrainReader.batch_size",
    16: "norm_train",
    19: "distill_train",
    23: "===eval_params===",
    27: "===infer_params===",
    30: "norm_export",
    33: "distill_export",
    41: "--device",
    47: "--model_dir",
    52: "===train_benchmark_params===",
    60: "numpy_infer_input",
    62: "to_static_train",
}
CHAINS = ("yolov3_mobilenet_v1_270e_coco", "picodet_s_320_coco_lcnet")
SMALLER = {
    r"(?<=BatchRandomResize: \{target_size: )\[[\d, ]+\]": "[64, 128]",
    r"(?<= Resize: \{target_size: )\[\d+, \d+\]": "[128, 128]",
    r"(?<=image_shape: )\[3, \d+, \d+\]": "[3, 128, 128]",
    r"(?<=worker_num: )\d+": "0",
}
"""What the readers' files say, and what is as good for a chain that shows that its commands work."""
SKIPPED = shutil.ignore_patterns(".git", ".venv", "output", "dataset", "weights", ".*_cache", "__pycache__")


def arguments(command: str, flag: str) -> list[str]:
    """What follows ``flag`` in ``command``."""
    words = shlex.split(command)
    return words[words.index(flag) + 1 :] if flag in words else []


@pytest.mark.parametrize("txt", TXT, ids=lambda path: path.stem)
def test_each_line_stands_where_it_is_looked_for(txt):
    lines = txt.read_text().splitlines()
    assert len(lines) == 62
    assert {number: lines[number - 1].partition(":")[0] for number in KEYS} == KEYS
    assert lines[1] == f"model_name:{txt.stem.removesuffix('_train_infer_python')}"


@pytest.mark.parametrize("txt", TXT, ids=lambda path: path.stem)
def test_its_commands_name_files_that_exist_and_settings_that_are_known(txt, root, monkeypatch):
    monkeypatch.chdir(root)
    distill = txt.read_text().splitlines()[18].partition(":")[2]
    own, of_slim = split_overrides(arguments(distill, "-o"))
    check(load_config(arguments(distill, "-c")[0], own))
    slim = load_config(arguments(distill, "--slim_config")[0], of_slim)
    check_slim(slim)
    assert slim["teacher"]["weights"] == f"test_tipc/weights/{Path(slim['teacher']['config']).stem}.pdparams"


@pytest.mark.slow
@pytest.mark.parametrize("model", CHAINS)
def test_chain_of_a_student_alone_and_distilled(model, root, tmp_path):
    clone = tmp_path / "clone"
    shutil.copytree(root, clone, ignore=SKIPPED)
    for file in (clone / "configs").glob("*/_base_/*reader*.yml"):
        text = file.read_text()
        for pattern, replacement in SMALLER.items():
            text = re.sub(pattern, replacement, text)
        file.write_text(text)
    txt = str(next(path for path in TXT if path.name.startswith(model)).relative_to(root))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for script in ("prepare.sh", "test_train_inference_python.sh"):
        command = ["bash", f"test_tipc/{script}", txt, "lite_train_lite_infer"]
        environment = {**os.environ, "PATH": path}
        done = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    log = (clone / "test_tipc/output" / model / "lite_train_lite_infer" / "results_python.log").read_text()
    assert "Run failed" not in log
    assert log.count("Run successfully with command") == 10


@pytest.mark.parametrize(("shift", "code"), [(0.0, 0), (5e-4, 0), (0.5, 1)])
def test_recorded_detections_are_compared_with_a_tolerance(tmp_path, root, shift, code):
    record = {"image_id": 1, "category_id": 2, "score": 0.5, "bbox": [1.0, 2.0, 30.0, 40.0]}
    (tmp_path / "a.json").write_text(json.dumps([record]))
    (tmp_path / "b.json").write_text(json.dumps([{**record, "bbox": [1.0 + shift, 2.0, 30.0, 40.0]}]))
    files = ["--gt_file", str(tmp_path / "a.json"), "--log_file", str(tmp_path / "b.json")]
    command = [sys.executable, "test_tipc/compare_results.py", *files]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert ("numbers differ by up to 0.5" in done.stderr) == bool(code)

"""Distillation under DataParallel: two processes on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("parallel_worker.py")


@pytest.mark.slow
def test_two_processes_keep_the_teacher_and_share_student_and_adapters(root, tmp_path):
    launch = ["-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"]
    done = subprocess.run(
        [sys.executable, *launch, "--log_dir", str(tmp_path / "log"), str(WORKER), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(WORKER.parent)]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    for facts in (first, second):
        assert facts["teacher_after"] == facts["teacher_before"] == first["teacher_before"]
        assert facts["adapters_after"] != facts["adapters_before"]
        assert facts["kd"] > 0
        assert facts["prepared"] == [[0.0] * 3, [5] * 2]
    assert first["adapters_after"] == second["adapters_after"]
    assert first["head"] == second["head"]
    assert first["kd"] != second["kd"]

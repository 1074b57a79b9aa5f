"""The loss that the documentation shows is a loss."""

from __future__ import annotations

import os
import re
import subprocess
import sys

USE = """
import numpy as np
from ppkd.config import Config, build
from ppkd.distill import DistillModel, FrozenTeacher
from pairs import batch, detector

student, teacher = detector("RetinaNet", 0), detector("GFL", 1)
loss = build(Config({}, {}), {"name": "NeckMSE", "weight": 2.0}, student=student.spec(), teacher=teacher.spec())
model = DistillModel(student, FrozenTeacher.of_losses(teacher, [loss]), {"neck": loss})
model.eval()
value = model(batch())["neck"]
record, answer = student.extract(batch()), teacher.extract(batch())
expected = sum(
    ((align(record.neck[p.student]) - answer.neck[p.teacher]) ** 2).mean().item()
    for align, p in zip(loss.align, loss.pairs["neck"], strict=True)
)
np.testing.assert_allclose(value.item(), 2.0 * expected, rtol=1e-5)
print("computed")
"""


def test_the_loss_of_the_documentation_is_computed(root, tmp_path):
    page = (root / "docs/distillation.md").read_text(encoding="utf-8")
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL) if "@register" in one]
    file = tmp_path / "neck_mse.py"
    file.write_text(code + USE)
    paths = f"{root}:{root / 'tests'}:{root / 'tests/contracts'}"
    done = subprocess.run(
        [sys.executable, str(file)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("computed"), done.stderr

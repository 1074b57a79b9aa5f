"""The components that the page on extending shows are components: as plug-ins they are found, built and run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docs_pages import blocks

FILES = {
    "loss.yml": "slim: Distill\nteacher: {config: gfl_r50_fpn_1x_coco, weights: none}\n",
    "detector.yml": "",
    "data.yml": "_BASE_: [gfl_r18vd_1x_coco]\nnum_classes: 2\n",
}
"""What the yaml of the page, in its order, is a part of."""
USE = """
import numpy as np
from pairs import batch, detector, small_config
from ppkd.config import Config, build, check, load_config
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.distill.build import check_slim
from ppkd.models import build_detector

nothing = Config({}, {})

# The yaml of the page is valid, and makes the plug-ins known.
check_slim(load_config("loss.yml"))
check(load_config("detector.yml"))
check(load_config("data.yml"))

# The loss: a RetinaNet learns from a GFL on two levels; a value by the formula on the recorded maps is the same.
student, teacher = detector("RetinaNet", 0), detector("GFL", 1)
settings = {"name": "Cosine", "power": 2.0, "strides": [8, 16], "weight": 3.0}
loss = build(nothing, settings, student=student.spec(), teacher=teacher.spec())
model = DistillModel(student, FrozenTeacher.of_losses(teacher, [loss]), {"cosine": loss})
model.eval()
value = model(batch())["cosine"].item()
record, answer = student.extract(batch()), teacher.extract(batch())
maps = zip(loss.formulas, record.neck[:2], answer.neck[:2], strict=True)
np.testing.assert_allclose(value, 3 * sum(formula(own, other).item() for formula, own, other in maps), rtol=1e-5)

# The detector: what it says it records it records, and any loss on features compares the backbones.
cfg = small_config("GFL")
block = {part: cfg.at(f"GFL.{part}") for part in ("backbone", "neck", "head")}
own = ["architecture=GFLWithBackbone", *(f"GFLWithBackbone.{part}={name}" for part, name in block.items())]
made = build_detector(load_config(cfg.path, ["pretrain_weights=null", *own]))
assert made.extract(batch()).spec == made.spec()
assert made.forward(batch())["loss"].item() > 0
plain = build(nothing, {"name": "CWD", "consumes": ["backbone"]}, student=made.spec(), teacher=made.spec())
assert [pair.stride for pair in plain.pairs["backbone"]] == [8, 16, 32]

# The data set.
with open("train.csv", "w") as table:
    table.write("file,class,x1,y1,x2,y2\\nb.jpg,dog,1,2,30,40\\na.jpg,cat,5,5,9,9\\n")
    table.write("b.jpg,cat,0,0,8,8\\nb.jpg,cat,3,3,3,9\\n")
classes = ["cat", "dog"]
data = build(nothing, {"name": "CSVDataSet", "dataset_dir": ".", "anno_path": "train.csv", "label_list": classes})
assert [image.file.name for image in data] == ["a.jpg", "b.jpg"]
assert data[1].gt_class.tolist() == [1, 0] and data[1].gt_bbox[0].tolist() == [1, 2, 30, 40]
print("all three work")
"""


@pytest.mark.slow
def test_the_components_of_the_page_work(root: Path, tmp_path: Path) -> None:
    page = (root / "docs/extending.md").read_text(encoding="utf-8")
    shown = zip(FILES.items(), blocks(page, "python"), blocks(page, "yaml"), strict=True)
    for (name, before), code, settings in shown:
        (plugin,) = re.findall(r"plugins: \[(\w+\.py)\]", settings)
        (tmp_path / plugin).write_text(code, encoding="utf-8")
        (tmp_path / name).write_text(before + settings, encoding="utf-8")
    (tmp_path / "use.py").write_text(USE)
    paths = f"{tmp_path}:{root}:{root / 'tests'}:{root / 'tests/contracts'}"
    done = subprocess.run(
        [sys.executable, "use.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip().endswith("all three work"), done.stderr[-3000:]

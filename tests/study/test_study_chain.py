"""Chains of teachers: the order of the links, what a mistake says, and a whole chain that stops and goes on."""

from __future__ import annotations

import numpy as np
import pytest
from commands import call

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.study.chain import Chain, plan
from ppkd.study.settings import read
from ppkd.utils.errors import ConfigError
from ppkd.utils.serialization import read_weights

BIG = "configs/shapes/yolov3_mobilenet_v1_x0.5_160_shapes.yml"
SMALL = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
L2 = "slim/distill/yolov3_l2.yml"
FILE = f"""
options: [epoch=1, TrainReader.batch_size=4, worker_num=0]
links:
  teacher: {{config: {BIG}}}
  assistant: {{config: {SMALL}, slim: {L2}, options: [slim.losses.l2.weight=10]}}
  student: {{config: {SMALL}, slim: {L2}}}
"""


def chain(tmp_path, text=FILE):
    path = tmp_path / "chain.yml"
    path.write_text(text)
    return load_config(path)


def test_each_link_learns_from_the_one_before_it(tmp_path):
    runs = plan(read(chain(tmp_path), Chain), tmp_path, "links")
    assert [run.name for run in runs] == ["teacher", "assistant", "student"]
    assert runs[0].slim is None
    for run, before in zip(runs[1:], runs[:-1], strict=True):
        assert f"slim.teacher.config={before.config}" in run.options
        assert f"slim.teacher.weights={tmp_path / before.name / 'model_final'}" in run.options
    assert runs[1].options[-1] == "slim.losses.l2.weight=10"


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (f"teacher: {{config: {BIG}}}", "two links or more"),
        (f"t: {{config: {BIG}, slim: {L2}}}\n  s: {{config: {SMALL}, slim: {L2}}}", "links.t: the first link has no"),
        (f"t: {{config: {BIG}}}\n  s: {{config: {SMALL}}}", "links.s: a link after the first is distilled"),
    ],
)
def test_links_that_make_no_chain_are_refused(tmp_path, links, message):
    with pytest.raises(ConfigError, match=message):
        plan(read(chain(tmp_path, f"links:\n  {links}\n"), Chain), tmp_path, "links")


@pytest.mark.slow
def test_a_chain_that_failed_goes_on_at_the_link_that_failed(tmp_path, root):
    draw_shapes(tmp_path / "shapes", images_train=8, images_val=4, size=160, seed=0)
    data = [f"{name}Dataset.dataset_dir={tmp_path / 'shapes'}" for name in ("Train", "Eval")]
    links = f"links:\n  teacher: {{config: {BIG}}}\n  student: {{config: {SMALL}, slim: {L2}}}\n"
    chain(tmp_path, f"options: [epoch=1, TrainReader.batch_size=4, worker_num=0, {', '.join(data)}]\n{links}")
    output = tmp_path / "out"
    command = [root / "tools/chain.py", "-c", str(tmp_path / "chain.yml"), "-o", f"output={output}"]
    (output / "student").mkdir(parents=True)
    (output / "student" / "model_final.pdparams").mkdir()
    code, said = call(*command, folder=root)
    assert code == 1
    assert "runs failed: student" in said
    before = read_weights(output / "teacher" / "model_final")
    (output / "student" / "model_final.pdparams").rmdir()
    code, said = call(*command, folder=root)
    assert code == 0, said[-3000:]
    assert "teacher is finished already" in said
    after = read_weights(output / "teacher" / "model_final")
    assert all(np.array_equal(before[name], after[name]) for name in before)
    rows = (output / "report.md").read_text().splitlines()
    assert [line.split(" | ")[0] for line in rows if line.startswith("| ")][2:] == ["| teacher", "| student"]

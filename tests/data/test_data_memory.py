"""Twenty thousand images: how soon the first batch comes, and what the processes that read them hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reader_cases import coco_content, write_picture

IMAGES = 20_000
BOUND_MB = 6.0

SCRIPT = """
import gc, json, multiprocessing, sys, time
from ppkd.utils.runtime import prepare
prepare()
import paddle
from ppkd.data.datasets import COCODataSet
from ppkd.data.loader import Loader
from ppkd.data.pipeline import Pipeline
from ppkd.data.sampling import Sampler
from ppkd.data.table import AnnotationTable
from ppkd.data.transforms import Compose, Decode, Permute


class Repeated:
    def __init__(self, annotations, length):
        self.annotations, self.length = annotations, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        return self.annotations[index % len(self.annotations)]


def own_mb(pid):
    lines = open(f"/proc/{pid}/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Dirty", "Swap:"))) / 1024


def mean_of_workers(dataset):
    gc.collect()
    pipeline = Pipeline(dataset, Compose([Decode(), Permute()]), Compose([]), 0, box_keys=("gt_bbox", "gt_class"))
    loader = Loader(pipeline, Sampler(len(dataset), 50, shuffle=True), dataset, worker_num=2)
    first, started = None, time.perf_counter()
    for number, _ in enumerate(loader):
        first = first or time.perf_counter() - started
        if number == len(loader) - 1:
            workers = [own_mb(child.pid) for child in multiprocessing.active_children()]
    return sum(workers) / len(workers), first


started = time.perf_counter()
dataset = COCODataSet(sys.argv[1], "images", "a.json", allow_empty=True)
opened = time.perf_counter() - started
few = AnnotationTable(dataset[:100])
mean_of_workers(Repeated(few, 100))
baseline, _ = mean_of_workers(Repeated(few, len(dataset)))
table, first = mean_of_workers(dataset)
objects, _ = mean_of_workers(Repeated(dataset[:], len(dataset)))
print(json.dumps({"opened": opened, "first": first, "table": table - baseline, "objects": objects - baseline}))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the memory of a process is read from /proc")
def test_reading_processes_share_the_annotations_of_twenty_thousand_images(tmp_path: Path, root: Path) -> None:
    """Beyond what as many pictures with a hundred annotations take; kept as objects, the same ones take far more."""
    picture = write_picture(tmp_path / "images" / "0.png", 8, 8)
    for index in range(1, IMAGES):
        os.link(picture, tmp_path / "images" / f"{index}.png")
    (tmp_path / "a.json").write_text(json.dumps(coco_content(IMAGES, 8, 8)))
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    print(found)
    assert found["opened"] + found["first"] < 30
    assert found["table"] < BOUND_MB < found["objects"]

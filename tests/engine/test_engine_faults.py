"""A crash or a full disk at every moment of writing, and resuming with something changed."""

from __future__ import annotations

import csv
import errno
import logging
import os
import resource
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from engine_toy import BATCHES, make_trainer
from test_engine_resume import StopAt, assert_same, everything

from ppkd.config import load_config
from ppkd.engine.checkpoint_files import newest_complete, resolve, sweep, write_set
from ppkd.engine.hooks.base import Hook
from ppkd.engine.settings_record import changes, record_settings
from ppkd.utils.errors import TrainingError, WeightsError
from ppkd.utils.serialization import read_pickle


def write(stem: Path, value: int) -> None:
    array = np.full(1000, value, np.float32)
    write_set(stem, {"w": array}, {"w": {"velocity": array}}, {"value": value, "random": array})


def values(stem: Path) -> set[int]:
    """The values of the three files."""
    weights, optimizer = read_pickle(f"{stem}.pdparams"), read_pickle(f"{stem}.pdopt")
    found = {int(weights["w"][0]), int(optimizer["w"]["velocity"][0])}
    return {*found, read_pickle(f"{stem}.pdstates")["value"]}


def die_at(count: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on the process ends without a word before its ``count``-th change to the file system."""
    calls = [0]

    def counted(function):
        def replacement(*arguments, **options):
            calls[0] += 1
            if calls[0] == count:
                os._exit(9)
            return function(*arguments, **options)

        return replacement

    for owner, name in ((os, "link"), (os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "open")):
        monkeypatch.setattr(owner, name, counted(getattr(owner, name)))
    return calls


def test_a_crash_at_any_moment_of_overwriting_leaves_a_complete_checkpoint(tmp_path, monkeypatch):
    """Every change to the file system once is the last one: the only checkpoint is there, old or new, never mixed."""
    write(tmp_path / "start" / "interrupted", 1)
    found, count, ended = [], 0, 9
    while ended == 9:
        count += 1
        folder = tmp_path / str(count)
        shutil.copytree(tmp_path / "start", folder)
        pid = os.fork()
        if pid == 0:
            die_at(count, monkeypatch)
            write(folder / "interrupted", 2)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        newest = newest_complete(folder)
        assert newest is not None, count
        (value,) = values(newest)
        found.append(value)
        write(folder / "interrupted", 3)
        sweep(folder)
        assert values(folder / "interrupted") == {3}
        assert sorted(file.name for file in folder.iterdir()) == [
            f"interrupted.pd{e}" for e in ("opt", "params", "states")
        ]
    assert count > 15 and found == sorted(found) and set(found) == {1, 2}


def stand_aside(folder: Path, name: str) -> None:
    """The set of ``name`` as it stands beside one that is being written over it."""
    for file in list(folder.glob(f"{name}.*")):
        file.rename(file.with_name(f"{name}.previous{file.suffix}"))


@pytest.mark.parametrize("written", [(), ("pdparams",), ("pdparams", "pdopt")])
def test_sweeping_leaves_the_only_complete_set(tmp_path, written):
    """A writer was killed while it replaced ``interrupted``: its older set, put aside, is all that is complete."""
    write(tmp_path / "interrupted", 1)
    stand_aside(tmp_path, "interrupted")
    write(tmp_path / "new", 2)
    for suffix in ("pdparams", "pdopt", "pdstates"):
        file = tmp_path / f"new.{suffix}"
        file.rename(tmp_path / f"interrupted.{suffix}") if suffix in written else file.unlink()
    sweep(tmp_path)
    assert resolve(tmp_path) == tmp_path / "interrupted.previous"
    assert values(resolve(tmp_path)) == {1}
    write(tmp_path / "interrupted", 3)
    sweep(tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        f"interrupted.pd{e}" for e in ("opt", "params", "states")
    ]


@pytest.mark.parametrize("place", [1, 3, 5])
def test_a_full_disk_names_the_checkpoint_and_leaves_the_older_one(tmp_path, monkeypatch, place):
    """While each of the three files is brought to the disk; between them folders are."""
    write(tmp_path / "interrupted", 1)
    sync, calls = os.fsync, [0]

    def fsync(handle):
        calls[0] += 1
        if calls[0] == place:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WeightsError, match=r"interrupted was not written: No space left on device; .* -r "):
        write(tmp_path / "interrupted", 2)
    assert values(resolve(tmp_path)) == {1}
    assert len(list(tmp_path.iterdir())) == 3


def test_a_limit_on_the_size_of_files_ends_the_run_with_its_last_checkpoint(tmp_path):
    make_trainer(tmp_path, epochs=2).train()
    before = everything(tmp_path, "0")
    pid = os.fork()
    if pid == 0:
        trainer = make_trainer(tmp_path, epochs=3)
        trainer.resume(tmp_path / "0")
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, 600))
        with suppress(WeightsError):
            trainer.save("0")
            os._exit(1)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert_same(before, everything(tmp_path, "0"))
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_half_written_newest_checkpoint_is_passed_over_and_named(tmp_path, caplog):
    make_trainer(tmp_path, epochs=3).train()
    (tmp_path / "model_final.pdstates").unlink()
    file = tmp_path / "1.pdopt"
    file.write_bytes(file.read_bytes()[:-9])
    logging.getLogger("ppkd").propagate = True
    with caplog.at_level(logging.WARNING, "ppkd"):
        assert resolve(tmp_path) == tmp_path / "0"
    passed = {message for message in caplog.messages if "passed over" in message}
    assert len(passed) == 2
    for fault in ("model_final.pdstates is missing", "1.pdopt is not the one"):
        assert sum(fault in message for message in passed) == 1


class Crash(Hook):
    """Ends the run when an epoch's checkpoint stands, but not its row of results."""

    def after_epoch(self, trainer, epoch):
        if epoch == 1:
            raise KeyboardInterrupt


def test_what_follows_an_epoch_is_done_after_a_crash_between_its_checkpoint_and_its_results(tmp_path):
    make_trainer(tmp_path / "whole").train()
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path / "parts", extra=[Crash()]).train()
    resumed = make_trainer(tmp_path / "parts", seed=99)
    resumed.resume(tmp_path / "parts")
    assert (resumed.position.epoch, resumed.position.batch) == (1, BATCHES)
    resumed.train()
    assert_same(everything(tmp_path / "whole"), everything(tmp_path / "parts"))
    tables = [list(csv.DictReader((tmp_path / name / "results.csv").open())) for name in ("whole", "parts")]
    for row in (row for table in tables for row in table):
        row.pop("batch_cost", None)
    assert tables[0] == tables[1] and len(tables[0]) == 3


def test_changed_settings_are_refused_key_by_key_and_forced_on_request(tmp_path, caplog):
    before = {"TrainReader.batch_size": "4", "seed": "0", "slim.losses.l2.weight": "1.0"}
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, settings=before, extra=[StopAt(1)]).train()
    now = {"TrainReader.batch_size": "8", "seed": "0", "use_ema": "true"}
    changed = make_trainer(tmp_path, settings=now)
    expected = (
        r"TrainReader\.batch_size: was 4, now 8; slim\.losses\.l2\.weight: was 1\.0, now absent; "
        r"use_ema: was absent, now true\. .*--force"
    )
    with pytest.raises(TrainingError, match=expected):
        changed.resume(tmp_path)
    logging.getLogger("ppkd").propagate = True
    with caplog.at_level(logging.WARNING, "ppkd"):
        changed.resume(tmp_path, force=True)
    assert len({message for message in caplog.messages if "Forced to go on" in message}) == 3
    assert changed.position.step == 2


def test_only_settings_that_change_a_step_are_compared():
    config = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
    base = record_settings(load_config(config), None, processes=1)
    harmless = ["worker_num=7", "epoch=99", "save_dir=/elsewhere", "log_iter=1", "EvalReader.batch_size=1"]
    assert changes(base, record_settings(load_config(config, harmless), None, processes=1)) == []
    overrides = ["TrainReader.batch_size=3", "LearningRate.base_lr=0.5"]
    found = changes(base, record_settings(load_config(config, overrides), None, processes=2))
    assert [line.split(":")[0] for line in found] == ["LearningRate.base_lr", "TrainReader.batch_size", "processes"]
    assert found[2] == "processes: was 1, now 2"


@pytest.mark.parametrize("teachers", ["teacher: {t}", "teachers: {{big: {t}, other: {t}}}"])
@pytest.mark.parametrize("teacher", ["{{config: a.yml, weights: {place}/best_model}}", "{place}"])
def test_a_teacher_may_move(tmp_path, teachers, teacher):
    """Its fingerprint says whether it is the same one."""

    def settings(place):
        file = tmp_path / "slim.yml"
        file.write_text(teachers.format(t=teacher.format(place=place)) + "\nlosses: {l2: {type: OutputL2}}\n")
        return record_settings(load_config("retinanet_r50_fpn_1x_coco"), load_config(str(file)))

    assert changes(settings("here"), settings("there")) == []
    assert "slim.losses.l2.type" in settings("here")

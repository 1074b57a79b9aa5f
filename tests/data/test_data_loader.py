"""The loader: one stream whatever the workers, resumable, and robust against broken files and dying workers."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
import pytest
from reader_cases import make_config, write_coco, write_picture

from ppkd.config import Config, load_config
from ppkd.data import build_dataset, build_loader, build_reader, sampling, workers
from ppkd.data import loader as loader_module
from ppkd.data.loader import Loader
from ppkd.data.pipeline import Pipeline
from ppkd.data.sampling import BatchPlan, Draw, Sampler
from ppkd.data.transforms import Compose
from ppkd.utils.errors import ConfigError, DataError


@pytest.fixture
def cfg(tmp_path: Path) -> Config:
    return make_config(tmp_path / "c.yml", write_coco(tmp_path, 9))


def loader(cfg: Config, mode: str = "Train", **settings: Any) -> Loader:
    return build_loader(build_reader(cfg, mode), build_dataset(cfg, f"{mode}Dataset"), **settings)


def contents(batches: Any) -> list[dict[str, Any]]:
    """Batches with arrays for tensors."""
    return [
        {key: [v.numpy() for v in value] if isinstance(value, list) else value.numpy() for key, value in batch.items()}
        for batch in batches
    ]


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs, strict=True):
        assert one.keys() == two.keys()
        for key in one:
            for a, b in zip(one[key], two[key], strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_training_batch_has_the_keys_shapes_and_types_of_the_contract(cfg: Config) -> None:
    (batch, *_) = loader(cfg, batch_size=4)
    assert batch["image"].dtype == paddle.float32
    assert batch["image"].shape[:2] == [4, 3]
    size = batch["image"].shape[2:]
    assert batch["im_shape"].numpy().tolist() == [list(size)] * 4
    assert batch["scale_factor"].shape == [4, 2]
    assert (batch["im_id"].shape, batch["im_id"].dtype) == ([4, 1], paddle.int64)
    assert "labelled" not in batch
    for key, kind, columns in (
        ("gt_bbox", paddle.float32, [4]),
        ("gt_class", paddle.int64, []),
        ("is_crowd", paddle.int64, []),
        ("difficult", paddle.int64, []),
        ("gt_score", paddle.float32, []),
    ):
        for rows, boxes in zip(batch[key], batch["gt_bbox"], strict=True):
            assert rows.dtype == kind
            assert list(rows.shape) == [len(boxes), *columns]


@pytest.mark.parametrize("shared_memory", [True, False])
def test_worker_processes_change_nothing(tmp_path: Path, shared_memory: bool) -> None:
    cfg = make_config(tmp_path / "c.yml", write_coco(tmp_path, 9), TrainReader={"use_shared_memory": shared_memory})
    alone, helped = loader(cfg, seed=5), loader(cfg, seed=5, worker_num=2)
    counts = set()
    for epoch in (0, 1):
        alone.start(epoch)
        helped.start(epoch)
        batches = contents(alone)
        assert_same(contents(helped), batches)
        counts |= {len(rows) for batch in batches for rows in batch["gt_bbox"]}
    assert 0 in counts
    assert len(counts) > 2


def test_resuming_in_the_middle_continues_the_same_stream(cfg: Config) -> None:
    whole = loader(cfg, seed=1)
    epochs = []
    for epoch in range(2):
        whole.start(epoch)
        epochs.append(contents(whole))
    resumed = loader(cfg, seed=1)
    resumed.start(1, 2)
    assert_same(contents(resumed), epochs[1][2:])
    assert_same(contents(resumed), epochs[1])


def test_epochs_seeds_and_samples_differ(cfg: Config) -> None:
    one, other = loader(cfg, seed=1), loader(cfg, seed=2)
    first = contents(one)
    one.start(1)
    orders = [
        [batch["im_id"].ravel().tolist() for batch in batches] for batches in (first, contents(one), contents(other))
    ]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_equal_images_get_different_draws(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, 8)
    for path in (folder / "images").iterdir():
        write_picture(path, seed=0)
    reader = {"sample_transforms": [{"Decode": {}}, {"RandomDistort": {}}], "mixup_epoch": -1}
    cfg = make_config(tmp_path / "c.yml", folder, TrainReader=reader)
    (batch,) = contents(loader(cfg, batch_size=8))
    assert len({image.tobytes() for image in batch["image"]}) == 8


def test_every_image_comes_once_per_epoch(cfg: Config) -> None:
    seen = [int(i) for batch in loader(cfg, "Eval") for i in batch["im_id"].numpy().ravel()]
    assert seen == list(range(10, 19))
    trained = [int(i) for batch in loader(cfg) for i in batch["im_id"].numpy().ravel()]
    assert len(trained) == len(set(trained)) == 8


def test_mixing_ends_with_its_epoch(cfg: Config) -> None:
    reader = loader(cfg)
    scores = []
    for epoch in (0, 1):
        reader.start(epoch)
        scores.append(np.concatenate([rows for batch in contents(reader) for rows in batch["gt_score"]]))
    assert (scores[0] < 1).any()
    assert (scores[1] == 1).all()


def test_every_epoch_mixes_with_other_partners(cfg: Config) -> None:
    """The same images of two epochs, neither shuffled, and once more the first."""
    read: list[list[int]] = []

    def note(samples: list[dict[str, Any]], rng: np.random.Generator) -> list[dict[str, Any]]:
        read.append([int(sample["im_id"][0]) for sample in samples])
        return [{**samples[0], **{key: np.zeros([3, 1, 1]) for key in ("image", "im_shape", "scale_factor")}}]

    dataset = build_dataset(cfg, "TrainDataset")
    pipeline = Pipeline(dataset, note, Compose([]), seed=1, mixup_epochs=2)
    for epoch in (0, 1, 0):
        pipeline[BatchPlan(epoch, 0, tuple(Draw(i, i) for i in range(9)))]
    first, second, again = read[:9], read[9:18], read[18:]
    assert [pair[0] for pair in first] == [pair[0] for pair in second] == list(range(10, 19))
    assert [pair[1] for pair in first] != [pair[1] for pair in second]
    assert first == again


def test_evaluation_has_boxes_and_prediction_has_none(cfg: Config) -> None:
    assert "gt_bbox" in next(iter(loader(cfg, "Eval")))
    assert sorted(next(iter(loader(cfg, "Test")))) == ["im_id", "im_shape", "image", "scale_factor"]


@pytest.mark.parametrize("drop_last", [True, False])
def test_processes_share_an_epoch_without_overlap(drop_last: bool) -> None:
    parts = [Sampler(22, 4, 3, True, drop_last, rank, 2) for rank in range(2)]
    drawn = [[draw.index for plan in part.plans(0) for draw in plan.labelled] for part in parts]
    assert [len(part) for part in parts] == ([2, 2] if drop_last else [3, 3])
    together = drawn[0] + drawn[1]
    if drop_last:
        assert len(set(together)) == 16
    else:
        assert set(together) == set(range(22))
        assert len(together) == 24
    alone = [draw.index for plan in Sampler(22, 8, 3, True, drop_last).plans(0) for draw in plan.labelled]
    assert set(alone) == set(together)


def test_unlabelled_images_join_every_batch_and_go_round(cfg: Config, tmp_path: Path) -> None:
    for i in range(5):
        write_picture(tmp_path / "more" / f"{i}.png", seed=50 + i)
    (tmp_path / "slim.yml").write_text(f"UnlabelledDataset: {{name: ImageFolder, image_dir: {tmp_path / 'more'}}}")
    unlabelled = build_dataset(load_config(tmp_path / "slim.yml"), "UnlabelledDataset")
    both = {"unlabelled": unlabelled, "unlabelled_batch_size": 3, "seed": 4}
    reader = loader(cfg, **both)
    assert len(reader) == len(loader(cfg)) == 4
    batches = contents(reader)
    ids = []
    for batch in batches:
        assert batch["labelled"].tolist() == [True, True, False, False, False]
        assert [len(rows) for rows in batch["gt_bbox"][2:]] == [0, 0, 0]
        ids += batch["im_id"].ravel()[2:].tolist()
    assert sorted(ids[:5]) == sorted(ids[5:10]) == list(range(5))
    assert ids[:5] != ids[5:10]
    resumed = loader(cfg, **both, worker_num=1)
    resumed.start(0, 3)
    assert_same(contents(resumed), batches[3:])


def test_unlabelled_images_stop_mixing_with_the_labelled_ones(cfg: Config, tmp_path: Path) -> None:
    levels = {}
    for i in range(2):
        path = write_picture(tmp_path / "more" / f"{i}.png")
        assert cv2.imwrite(str(path), np.full((48, 64, 3), 100 * (i + 1), np.uint8))
    (tmp_path / "slim.yml").write_text(f"UnlabelledDataset: {{name: ImageFolder, image_dir: {tmp_path / 'more'}}}")
    unlabelled = build_dataset(load_config(tmp_path / "slim.yml"), "UnlabelledDataset")
    bare = [{"Decode": {}}, {"Mixup": {}}, {"Resize": {"target_size": [8, 8], "keep_ratio": False}}, {"Permute": {}}]
    cfg = make_config(tmp_path / "m.yml", tmp_path, TrainReader={"sample_transforms": bare, "batch_transforms": []})
    reader = loader(cfg, unlabelled=unlabelled, unlabelled_batch_size=2)
    for epoch in (0, 1):
        reader.start(epoch)
        levels[epoch] = {round(float(x.mean())) for batch in contents(reader) for x in batch["image"][2:]}
    assert levels[0] - {100, 200}
    assert levels[1] == {100, 200}


def test_planning_an_epoch_does_not_shuffle_the_unlabelled_images_for_each_of_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shuffles = []
    original = sampling.generator
    monkeypatch.setattr(sampling, "generator", lambda *key: shuffles.append(key) or original(*key))
    plans = list(Sampler(100, 5, seed=987, unlabelled_size=50, unlabelled_batch_size=5).plans(0))
    drawn = [draw.index for plan in plans for draw in plan.unlabelled]
    assert sorted(drawn[:50]) == sorted(drawn[50:]) == list(range(50))
    assert len(shuffles) == 2


def break_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "images" / name).write_bytes(b"\x89PNG no longer")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_training_image_is_replaced_named_once_and_counted(
    cfg: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    break_file(tmp_path, "4.png")
    reader = loader(cfg, worker_num=workers, batch_size=3)
    with caplog.at_level(logging.WARNING, "ppkd.data"):
        for epoch in range(3):
            reader.start(epoch)
            assert [len(batch["im_id"]) for batch in contents(reader)] == [3, 3, 3]
    warnings = [record.getMessage() for record in caplog.records if "4.png" in record.getMessage()]
    assert len(warnings) == 1
    assert "another image takes its place" in warnings[0]
    assert sum(reader.unreadable.values()) >= 3


def test_a_broken_evaluation_image_is_left_out_and_counted(
    cfg: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    break_file(tmp_path, "4.png")
    reader = loader(cfg, "Eval", batch_size=1, worker_num=1)
    with caplog.at_level(logging.WARNING, "ppkd.data"):
        seen = [int(i) for batch in contents(reader) for i in batch["im_id"].ravel()]
    assert seen == [10, 11, 12, 13, 15, 16, 17, 18]
    assert reader.lost == [14]
    assert any(record.getMessage().endswith("; it counts as one without detections") for record in caplog.records)
    assert any("4.png" in record.getMessage() for record in caplog.records)
    assert sum(reader.unreadable.values()) == 1


def test_too_many_broken_images_end_training(cfg: Config, tmp_path: Path) -> None:
    for name in ("1.png", "4.png", "6.png", "7.png"):
        break_file(tmp_path, name)
    reader = loader(cfg)
    with pytest.raises(DataError, match=r"of the last \d+ images could not be read.*\.png"):
        for epoch in range(20):
            reader.start(epoch)
            list(reader)


def test_only_broken_images_are_an_error(cfg: Config, tmp_path: Path) -> None:
    evaluation = loader(cfg, "Eval")
    for i in range(9):
        break_file(tmp_path, f"{i}.png")
    with pytest.raises(DataError, match="10 images in a row could not be read"):
        next(iter(loader(cfg, worker_num=1)))
    with pytest.raises(DataError, match="none of the images could be read"):
        list(evaluation)


@pytest.mark.slow
def test_a_killed_worker_ends_the_epoch_with_an_error(cfg: Config) -> None:
    reader = loader(cfg, worker_num=1)

    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    reader._pipeline._batch = die
    with pytest.raises(DataError, match=r"worker process .* died.*worker_num"):
        list(reader)


READ_ON = """
import os, signal, subprocess, sys, time
import paddle
sys.path.insert(0, {tests!r})
from reader_cases import load_config
from ppkd.data import build_dataset, build_loader, build_reader

told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
cfg = load_config({config!r})
loader = build_loader(build_reader(cfg, "Train"), build_dataset(cfg, "TrainDataset"), worker_num=2)
read = 0
for epoch in range(3):
    loader.start(epoch)
    for batch in loader:
        read += 1
        if read == 2:
            subprocess.run(["kill", "-TERM", "--", f"-{{os.getpgrp()}}"], start_new_session=True, check=True)
            time.sleep(0.3)
print("told", len(told), "read", read)
"""


def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_main_process(cfg: Config, root: Path) -> None:
    script = READ_ON.format(tests=str(Path(__file__).parent), config=cfg.path)
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, start_new_session=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "told 1 read 12" in done.stdout


def test_no_signal_reaches_a_worker_before_it_is_prepared(
    cfg: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = workers._prepare

    def observed(number: int) -> None:
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        (tmp_path / f"worker{number}").write_text(str({signal.SIGINT, signal.SIGTERM} <= blocked))
        prepare(number)

    monkeypatch.setattr(workers, "_prepare", observed)
    list(loader(cfg, worker_num=2))
    assert [(tmp_path / f"worker{number}").read_text() for number in range(2)] == ["True", "True"]
    assert not {signal.SIGINT, signal.SIGTERM} & signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.slow
def test_a_killed_worker_does_not_interrupt_what_the_main_process_does(cfg: Config) -> None:
    """There are more batches than the workers read ahead, so that some are missing."""
    batches = iter(loader(cfg, worker_num=2, batch_size=1))
    next(batches)
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)
    until = time.monotonic() + 1
    while time.monotonic() < until:
        pass
    with pytest.raises(DataError, match=r"worker process .* died"):
        list(batches)


def test_no_worker_outlives_its_epoch(cfg: Config) -> None:
    before = set(multiprocessing.active_children())
    reader = loader(cfg, worker_num=2)
    list(reader)
    assert set(multiprocessing.active_children()) == before
    unfinished = iter(reader)
    next(unfinished)
    assert len(set(multiprocessing.active_children()) - before) == 2
    unfinished.close()
    assert set(multiprocessing.active_children()) == before


def test_little_shared_memory_means_pipes(cfg: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_module, "SHARED_MEMORY", 1 << 60)
    reader = loader(cfg, worker_num=1)
    assert not reader._shared_memory
    assert len(list(reader)) == len(reader)


def test_images_that_do_not_stack_are_explained(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, 3)
    write_picture(folder / "images" / "1.png", height=30)
    plain = make_config(tmp_path / "a.yml", folder, EvalReader={"sample_transforms": [{"Decode": {}}, {"Permute": {}}]})
    with pytest.raises(ConfigError, match=r"differ in size.*PadBatch"):
        list(loader(plain, "Eval"))
    flat = make_config(tmp_path / "b.yml", folder, EvalReader={"sample_transforms": [{"Decode": {}}]})
    with pytest.raises(ConfigError, match="add Permute"):
        list(loader(flat, "Eval"))


def test_readers_that_cannot_work_are_refused_at_once(tmp_path: Path) -> None:
    folder = write_coco(tmp_path, 3)
    blind = make_config(tmp_path / "a.yml", folder, EvalReader={"sample_transforms": [{"Permute": {}}]})
    with pytest.raises(ConfigError, match=r"EvalReader.sample_transforms needs Decode"):
        loader(blind, "Eval")
    wrong = make_config(
        tmp_path / "b.yml",
        folder,
        EvalReader={
            "sample_transforms": [
                {"COCODataSet": {"anno_path": str(folder / "a.json"), "image_dir": str(folder / "images")}}
            ]
        },
    )
    with pytest.raises(ConfigError, match=r"not a transform"):
        loader(wrong, "Eval")
    with pytest.raises(DataError, match=r"needs 8 images for a batch, but there are 3.*drop_last"):
        loader(make_config(tmp_path / "c.yml", folder), batch_size=8)


@pytest.mark.parametrize("drop_last", [True, False])
def test_accumulated_batches_of_several_processes_are_one_large_batch(drop_last: bool) -> None:
    unlabelled = {"unlabelled_size": 7, "seed": 3, "shuffle": True, "drop_last": drop_last}
    (large,) = [list(Sampler(23, 8, unlabelled_batch_size=4, **unlabelled).plans(1))]
    small = [
        plan
        for rank in range(2)
        for plan in Sampler(23, 2, rank=rank, ranks=2, parts=2, unlabelled_batch_size=1, **unlabelled).plans(1)
    ]
    for update in large[: None if drop_last else -1]:
        parts = [plan for plan in small if plan.batch == update.batch]
        assert len(parts) == 4
        assert {draw for part in parts for draw in part.labelled} == set(update.labelled)
        assert {draw for part in parts for draw in part.unlabelled} == set(update.unlabelled)
    if not drop_last:
        assert all(len(plan.labelled) == 2 for plan in small)


def test_processes_share_an_evaluation_in_whole_batches_none_twice() -> None:
    alone = {plan.batch: plan for plan in Sampler(11, 2, shard=True).plans(0)}
    parts = [Sampler(11, 2, rank=rank, ranks=4, shard=True) for rank in range(4)]
    plans = [plan for part in parts for plan in part.plans(0)]
    assert [len(part) for part in parts] == [2, 2, 1, 1] and not parts[3].empty
    assert {plan.batch: plan for plan in plans} == alone and len(plans) == len(alone) == 6

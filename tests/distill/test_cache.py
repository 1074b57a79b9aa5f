"""A teacher that computes once: its recorded answers are its answers, and what does not fit them is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest

from ppkd.config import load_config
from ppkd.data.shapes import draw_shapes
from ppkd.distill import DistillModel, FrozenTeacher
from ppkd.distill.cache import chunks as chunk_files
from ppkd.distill.cache.settings import CacheSettings
from ppkd.distill.cache.teacher import CachedTeacher, recorded_spec
from ppkd.distill.teacher import asked_of
from ppkd.experiment import TrainOptions, train
from ppkd.experiment.assembly import assemble
from ppkd.experiment.experiment import Experiment
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError, DataError, SpecError, TrainingError
from ppkd.utils.serialization import read_weights, write_weights

sys.path.append(str(Path(__file__).resolve().parents[1] / "contracts"))

from pairs import batch as noise
from pairs import detector, loss_between

STUDENT = "configs/shapes/yolov3_mobilenet_v1_x0.25_160_shapes.yml"
TEACHER = "configs/shapes/yolov3_mobilenet_v1_x0.5_160_shapes.yml"
LOSSES = "{fine: {type: YOLOv3FineGrained}, cwd: {type: CWD}}"
IMAGES, SIDE = 5, 64

pytestmark = pytest.mark.usefixtures("logger_as_before")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    return draw_shapes(tmp_path_factory.mktemp("shapes"), images_train=IMAGES, images_val=1, size=SIDE, seed=1)


@pytest.fixture(scope="module")
def weights(root, tmp_path_factory):
    """Of the teacher: random ones, and others."""
    folder = tmp_path_factory.mktemp("weights")
    for name in ("one", "other"):
        paddle.seed(len(name))
        model = build_detector(load_config(str(root / TEACHER), ["pretrain_weights=null"]))
        write_weights(folder / f"{name}.pdparams", model.state_dict())
    return folder


@pytest.fixture
def parse(root, shapes, weights, tmp_path, monkeypatch):
    """The experiment of a student of a teacher with a cache, by what differs from the usual."""
    monkeypatch.chdir(root)

    def made(*overrides, cache=None, losses=LOSSES, teacher=None, more="", **options):
        settings = {"dir": str(tmp_path / "cache"), "views": 2, "dtype": "float32", **(cache or {})}
        given = teacher or {"config": TEACHER, "weights": str(weights / "one")}
        (tmp_path / "slim.yml").write_text(
            f"slim: Distill\nteacher: {json.dumps({**given, 'cache': settings})}\nlosses: {losses}\n{more}"
        )
        usual = [
            f"TrainDataset.dataset_dir={shapes}",
            f"TrainReader.sample_transforms.2.Resize.target_size=[{SIDE},{SIDE}]",
            "EvalReader=null",
            "EvalDataset=null",
            "pretrain_weights=null",
            "TrainReader.batch_size=2",
            "worker_num=0",
            "epoch=3",
            f"save_dir={tmp_path}",
        ]
        cfg = load_config(STUDENT, [*usual, *overrides])
        return Experiment.parse(cfg, load_config(str(tmp_path / "slim.yml")), TrainOptions(**options))

    return made


@pytest.fixture
def small_files(monkeypatch):
    """Files of one image each."""
    monkeypatch.setattr(chunk_files, "LARGEST", 1)


def batches(loader, epoch):
    loader.start(epoch)
    return list(loader)


def numbers(record):
    return {name: [level.numpy() for level in levels] for name, levels in record.tensors.items()}


def online(model):
    return DistillModel(model.student, model.teacher.inner, dict(model.losses.items()))


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 0), ("float16", 1e-3), ("bfloat16", 1e-2)])
def test_losses_are_those_of_the_online_teacher(parse, dtype, bound):
    assembly = assemble(parse(cache={"dtype": dtype}))
    model = assembly.distilled
    assert isinstance(model.teacher, CachedTeacher)
    model.eval()
    for epoch in range(3):
        for batch in batches(assembly.loader, epoch):
            found, expected = (one(batch) for one in (model, online(model)))
            for name in ("fine", "cwd"):
                assert abs(found[name].item() - expected[name].item()) <= bound * abs(expected[name].item())
            for name, levels in numbers(model.teacher(batch)).items():
                for level, wanted in zip(levels, numbers(model.teacher.inner(batch, None))[name], strict=True):
                    assert np.abs(level - wanted).max() <= bound * np.abs(wanted).max()
    assert set(model.teacher(batch).tensors) == {"neck", "cls_logits", "objectness", "box_xywh"}


def test_epochs_take_the_views_in_turn_whatever_the_seed(parse):
    def epoch(loader, number):
        found = batches(loader, number)
        return {one.item(): image for batch in found for one, image in zip(batch["im_id"], batch["image"], strict=True)}

    loader = assemble(parse("TrainReader.drop_last=false")).loader
    first, second, third = (epoch(loader, number) for number in range(3))
    other = epoch(assemble(parse("TrainReader.drop_last=false", "seed=7")).loader, 2)
    assert len(first) == IMAGES
    assert all((first[one] == third[one]).all() and (first[one] == other[one]).all() for one in first)
    assert not all((first[one] == second[one]).all() for one in first)


def test_what_was_interrupted_goes_on(parse, tmp_path, small_files, monkeypatch):
    written = []
    write = chunk_files.Chunks.write

    def failing(self, view, number, arrays):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append((view, number))
        write(self, view, number, arrays)

    monkeypatch.setattr(chunk_files.Chunks, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        assemble(parse())
    assert len(list((tmp_path / "cache").glob("*.safetensors"))) == 2
    monkeypatch.setattr(chunk_files.Chunks, "write", write)
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cache").glob("*.safetensors")}
    assembly = assemble(parse())
    assert {name: (tmp_path / "cache" / name).stat().st_mtime_ns for name in before} == before
    teacher, batch = assembly.distilled.teacher, batches(assembly.loader, 1)[0]
    assert (teacher(batch)["neck"][0] == teacher.inner(batch, None)["neck"][0]).all()


def test_more_views_are_added_to_those_there_are(parse, tmp_path):
    assemble(parse(cache={"views": 1}))
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "cache").iterdir() if file.name != "cache.json"}
    assemble(parse(cache={"views": 3}))
    assert len(list((tmp_path / "cache").iterdir())) == 3 * len(before) + 1
    assert {file: file.stat().st_mtime_ns for file in before} == before


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"teacher": "other"}, r"answers to something else \(teacher: was"),
        ({"override": "TrainReader.mixup_epoch=0"}, r"TrainReader.mixup_epoch: was .*, now \"?0"),
        ({"override": "TrainReader.sample_transforms.2.Resize.interp=1"}, r"Resize.interp: was .* now 1"),
        ({"cache": {"dtype": "float16"}}, r"dtype: was \"float32\", now \"float16\""),
        ({"losses": "{cwd: {type: CWD}}"}, r"entries.cls_logits.*now absent"),
    ],
)
def test_stale_answers_are_refused_with_what_differs(parse, weights, changed, says):
    assemble(parse())
    given = {key: value for key, value in changed.items() if key in ("cache", "losses")}
    if "teacher" in changed:
        given["teacher"] = {"config": TEACHER, "weights": str(weights / changed["teacher"])}
    with pytest.raises(ConfigError, match=says):
        assemble(parse(*([changed["override"]] if "override" in changed else []), **given))


def test_damaged_files_are_named(parse, tmp_path, small_files):
    assemble(parse())
    file = sorted((tmp_path / "cache").glob("*.safetensors"))[0]
    whole = file.read_bytes()
    changed = bytearray(whole)
    changed[-5000] ^= 1
    copied = tmp_path / "copied"
    shutil.copytree(tmp_path / "cache", copied)
    (copied / file.name).write_bytes(bytes(changed))
    loader = assemble(parse(cache={"dir": str(copied)})).loader
    with pytest.raises(DataError, match=rf"{file.name}: a damaged file .* is not what was written"):
        [batches(loader, epoch) for epoch in range(4)]
    file.write_bytes(whole[:-5000])
    with pytest.raises(DataError, match=rf"{file.name}: a damaged file .* it is too short"):
        assemble(parse())


def test_a_cache_that_is_too_large_is_refused_before_it_is_made(parse, tmp_path):
    with pytest.raises(ConfigError, match=r"needs 0.00 GB, more than cache.limit_gb: 1e-05. Take fewer views"):
        assemble(parse(cache={"limit_gb": 1e-5}))
    assert not (tmp_path / "cache").exists()


def test_a_dry_run_records_nothing(parse, tmp_path):
    assembly = assemble(parse(dry_run=True))
    assert not (tmp_path / "cache").exists()
    assert assembly.distilled(batches(assembly.loader, 0)[0])["loss"].item() > 0


def test_a_folder_of_something_else_is_kept(parse, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="no teacher's cache, and not empty"):
        assemble(parse())


@pytest.mark.parametrize(
    ("overrides", "given", "error", "says"),
    [
        (
            [],
            {"losses": "{g: {type: GlobalKnowledge, soft_label: 0}}"},
            SpecError,
            r"GlobalKnowledge needs .* in a cache",
        ),
        ([], {"cache": {"views": 0}}, ConfigError, "teacher.cache"),
        ([], {"cache": {"vews": 1}}, ConfigError, "vews is not a setting"),
        (
            [],
            {"more": "UnlabelledDataset: {name: ImageFolder, image_dir: a}\n"},
            ConfigError,
            "records labelled images alone",
        ),
        (
            ["TrainReader.batch_transforms=[{BatchRandomResize: {target_size: [64, 96]}}]"],
            {},
            ConfigError,
            "BatchRandomResize draws one for each batch",
        ),
        (
            ["TrainReader.sample_transforms=[Decode: {}, Mixup: {}]", "TrainReader.mixup_epoch=2"],
            {},
            ConfigError,
            "Mixup ends after 2",
        ),
    ],
)
def test_what_no_record_can_serve_is_refused_by_name(parse, overrides, given, error, says):
    with pytest.raises(error, match=says):
        assemble(parse(*overrides, **given))


def test_images_of_several_sizes_are_refused(parse):
    transforms = "[Decode: {}, RandomResize: {target_size: [64, 96]}, NormalizeImage: {}, Permute: {}]"
    with pytest.raises(ConfigError, match="a teacher's cache needs images of one size"):
        assemble(parse(f"TrainReader.sample_transforms={transforms}", "TrainReader.batch_transforms=[PadBatch: {}]"))


def test_a_graph_of_another_framework_is_recorded_too(parse, root):
    graph = {"onnx": str(root / "tests/fixtures/graphs/torch_pyramid.onnx"), "entries": {"neck": {8: "p8"}}}
    assembly = assemble(parse(teacher=graph, losses="{cwd: {type: CWD}}"))
    teacher, batch = assembly.distilled.teacher, batches(assembly.loader, 0)[0]
    assert (teacher(batch)["neck"][0] == teacher.inner(batch, None)["neck"][0]).all()


@pytest.mark.slow
def test_a_resumed_run_goes_on_to_the_bit(parse, tmp_path):
    def run(folder, *overrides, **options):
        made = parse(f"save_dir={tmp_path / folder}", *overrides, cache={"dtype": "float16"}, **options)
        return train(made.config, made.slim.config, made.options)

    whole = read_weights(run("whole", "epoch=2", "worker_num=2") / "model_final")
    part = run("part", "epoch=1")
    resumed = read_weights(run("part", "epoch=2", "worker_num=2", resume=str(part)) / "model_final")
    assert all((whole[name] == resumed[name]).all() for name in whole)


@pytest.mark.parametrize(
    ("name", "losses"),
    [("RetinaNet", ["GID", "CrossKD", "RankMimicking", "FGD"]), ("GFL", ["BCKD", "LD", "ScoreWeighted", "CrossKD"])],
)
def test_losses_that_need_no_more_than_records_take_them(name, losses):
    student, inner = detector(name, seed=1), FrozenTeacher(detector(name, seed=2))
    student.eval()
    spec = recorded_spec(inner.spec())
    taken = {}
    for one in losses:
        try:
            taken[one] = loss_between(one, student.spec(), spec)
        except SpecError as error:
            assert one == "CrossKD"
            assert "CrossKD needs" in str(error)
            assert f"of {spec.name}, which offers assign, boxes, scores" in str(error)
    teacher = CachedTeacher("teacher", inner, asked_of(spec, taken.values()), CacheSettings("unused"))
    given = noise()
    record = teacher.ask(given)
    given |= {
        key: level for entry, keys in teacher.keys().items() for key, level in zip(keys, record[entry], strict=True)
    }
    teacher.use()
    found, expected = (DistillModel(student, one, taken)(given) for one in (teacher, inner))
    assert len(taken) == len(losses) - 1
    assert all(found[one].item() == expected[one].item() for one in taken)
    with pytest.raises(TrainingError, match=r"the teacher's answers to this batch are not recorded \(teacher.neck.0\)"):
        teacher(noise())

"""A teacher that is an ONNX graph: our own detector's losses, another framework's numbers, and what is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import paddle
import pytest
from toy import ToyDetector, toy_batch

from ppkd.cli.teacher import command as teacher_command
from ppkd.config import load_config
from ppkd.data.pixels import normalising
from ppkd.deploy.to_onnx.export import export_onnx
from ppkd.distill import DistillModel, FrozenTeacher, build_distiller
from ppkd.distill.build import check_slim
from ppkd.distill.graphs.graph import Graph
from ppkd.distill.graphs.inspect import candidates, propose
from ppkd.distill.graphs.pixels import Preprocess, Renormalisation
from ppkd.distill.graphs.teacher import GraphTeacher
from ppkd.distill.losses import CWD, FGD, LD, PKD, ClassKD, OutputL2, ScoreWeighted
from ppkd.utils.errors import ConfigError, DataError, SpecError, WeightsError
from ppkd.utils.serialization import digest

sys.path.append(str(Path(__file__).resolve().parents[1] / "contracts"))

from pairs import batch, detector, small_config

SIDE = 160
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="module")
def folder(root) -> Path:
    return root / "tests/fixtures/graphs"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A detector, and the graph that ``ppkd export --nms teacher`` makes of it."""
    model = detector("GFL", seed=1)
    model.eval()
    return model, export_onnx(model, small_config("GFL"), tmp_path_factory.mktemp("graph"), outputs="record")


def entries_of(spec, names):
    return {name: {level.stride: f"{name}.{i}" for i, level in enumerate(spec.entries[name].levels)} for name in names}


def of_batch(batch):
    return batch["image"]


def graph_teacher(file, entries, student, images=of_batch):
    return GraphTeacher(
        Graph(file, [name for levels in entries.values() for name in levels.values()]), entries, student, images
    )


@pytest.mark.slow
def test_our_own_detector_as_a_graph_gives_the_online_losses(own):
    model, file = own
    student = detector("GFL", seed=2)
    student.eval()
    entries = entries_of(model.spec(), ["neck", "cls_logits", "box_dist"])
    teacher, online = graph_teacher(file, entries, student.spec()), FrozenTeacher(model)
    kinds = {"cwd": CWD, "fgd": FGD, "pkd": PKD, "ld": LD, "classes": ClassKD, "l2": OutputL2, "scores": ScoreWeighted}
    losses = {name: kind(student.spec(), teacher.spec()) for name, kind in kinds.items()}
    images = {**batch(), "image": paddle.randn([2, 3, SIDE, SIDE]), "im_shape": paddle.full([2, 2], float(SIDE))}
    found, expected = (DistillModel(student, one, losses)(images) for one in (teacher, online))
    for name in losses:
        assert expected[name].item() > 0
        np.testing.assert_allclose(found[name].item(), expected[name].item(), rtol=1e-4)
    assert teacher.fingerprint() == digest(file)


def test_a_graph_of_another_framework_gives_its_numbers(folder):
    names = {"neck": {4: "p4", 8: "p8"}, "cls_logits": {4: "logits4", 8: "logits8"}}
    teacher = graph_teacher(folder / "torch_pyramid.onnx", names, ToyDetector().spec())
    known = np.load(folder / "torch_pyramid.npz")
    record = teacher({"image": paddle.to_tensor(known["image"])})
    assert record.spec == teacher.spec()
    for entry, levels in names.items():
        for level, name in zip(record[entry], levels.values(), strict=True):
            wanted = known[name] if entry == "neck" else known[name][:, None]
            np.testing.assert_allclose(level.numpy(), wanted, atol=1e-5)


def test_it_teaches_a_student_through_a_slim_file(folder, tmp_path, root, monkeypatch):
    monkeypatch.chdir(root)
    (tmp_path / "slim.yml").write_text(
        f"slim: Distill\nteacher:\n  onnx: {folder / 'torch_pyramid.onnx'}\n"
        "  entries: {neck: {4: p4, 8: p8}}\n  preprocess: {mean: [0, 0, 0], std: [1, 1, 1], bgr: true}\n"
        "losses: {cwd: {type: CWD}}\n"
    )
    cfg, slim = small_config("YOLOv3"), load_config(str(tmp_path / "slim.yml"))
    check_slim(slim, cfg)
    model = build_distiller(cfg, slim)
    terms = model(batch())
    assert terms["cwd"].item() > 0
    terms["loss"].backward()
    assert model.losses["cwd"].parameters()[0].grad.abs().sum().item() > 0


def test_tensors_inside_of_the_graph_are_entries_too(folder):
    file = folder / "torch_pyramid.onnx"
    graph = onnx.load(str(file)).graph
    inside = next(node.output[0] for node in graph.node if node.op_type == "Relu")
    assert inside == "p4" or inside not in [output.name for output in graph.output]
    conv = graph.node[0].output[0]
    teacher = graph_teacher(file, {"neck": {4: conv}}, ToyDetector().spec())
    assert (teacher(toy_batch())["neck"][0].numpy() < 0).any()


def test_only_what_is_consumed_is_recorded(folder):
    names = {"neck": {4: "p4"}, "cls_logits": {4: "logits4"}}
    teacher = graph_teacher(folder / "torch_pyramid.onnx", names, ToyDetector().spec())
    assert set(teacher.only(["neck"])(toy_batch()).tensors) == {"neck"}


def test_pixels_are_those_that_the_graph_was_trained_with():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 3, 8, 6)).astype("float32")
    own = np.array(MEAN, "float32").reshape(3, 1, 1), np.array(STD, "float32").reshape(3, 1, 1)
    images = (pixels / 255 - own[0]) / own[1]
    images[0, :, 5:] = 0
    given = {"image": paddle.to_tensor(images), "im_shape": paddle.to_tensor([[5.0, 6.0], [8.0, 6.0]])}
    wanted = Preprocess(mean=(103.53, 116.28, 123.675), std=(57.0, 58.0, 59.0), is_scale=False, bgr=True)
    found = Renormalisation(normalising(MEAN, STD, is_scale=True), wanted)(given).numpy()
    blue_first = pixels[:, ::-1]
    expected = (blue_first - np.array(wanted.mean).reshape(3, 1, 1)) / np.array(wanted.std).reshape(3, 1, 1)
    expected[0, :, 5:] = 0
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        (
            {"neck": {4: "logits5"}},
            ConfigError,
            r"has no tensor logits5; did you mean 'logits[48]'\?; outputs are p4",
        ),
        ({"neck": {8: "p4"}}, SpecError, r"p4, named as entries.neck of stride 8, is .* its stride is about 4"),
        ({"nek": {4: "p4"}}, SpecError, r"Toy records no entry of that name.*it records neck, cls_logits"),
        ({"cls_logits": {4: "p4"}}, SpecError, r"has 6 channels at stride 4, but Toy has 3 x 1 anchors"),
    ],
)
def test_wrong_entries_are_refused_when_it_is_built(folder, entries, error, message):
    with pytest.raises(error, match=message):
        graph_teacher(folder / "torch_pyramid.onnx", entries, ToyDetector().spec())


def test_a_graph_of_fixed_sizes_says_what_it_takes(folder, tmp_path):
    model = onnx.load(str(folder / "torch_pyramid.onnx"))
    for dim, size in zip(model.graph.input[0].type.tensor_type.shape.dim, (1, 3, 32, 48), strict=True):
        dim.Clear()
        dim.dim_value = size
    onnx.save(model, str(tmp_path / "fixed.onnx"))
    teacher = graph_teacher(tmp_path / "fixed.onnx", {"neck": {4: "p4"}}, ToyDetector().spec())
    with pytest.raises(DataError, match=r"fixed.onnx takes images of 32 x 48 pixels .* but the reader makes 16 x 16"):
        teacher(toy_batch())
    known = paddle.randn([3, 3, 32, 48])
    open_teacher = graph_teacher(folder / "torch_pyramid.onnx", {"neck": {4: "p4"}}, ToyDetector().spec())
    found, expected = (one({"image": known})["neck"][0].numpy() for one in (teacher, open_teacher))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_files_that_are_no_graph(tmp_path, folder):
    (tmp_path / "half.onnx").write_bytes((folder / "torch_pyramid.onnx").read_bytes()[:300])
    for name, says in (("half.onnx", "damaged"), ("nowhere.onnx", "No such file")):
        with pytest.raises(WeightsError, match=rf"{name}.*{says}"):
            Graph(tmp_path / name, ["p4"])


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ("{onnx: a.onnx}", r"slim.yml:2: teacher.entries is missing or empty.*ppkd teacher inspect"),
        ("{onnx: a.onnx, entries: {neck: {8: a}}, weights: b}", r"teacher.weights is not a key"),
        ("{onnx: a.onnx, entries: {neck: a}}", r"teacher.entries is \"a\", expected"),
        ("{onnx: a.onnx, entries: {neck: {8: a}}, preprocess: {std: [1, 0, 1]}}", r"none of std may be 0"),
    ],
)
def test_mistakes_in_the_settings_are_named(tmp_path, teacher, message):
    (tmp_path / "slim.yml").write_text(f"slim: Distill\nteacher: {teacher}\nlosses: {{cwd: {{type: CWD}}}}\n")
    with pytest.raises(ConfigError, match=message):
        check_slim(load_config(str(tmp_path / "slim.yml")))


def test_inspect_lists_tensors_and_proposes_entries(folder, capsys, root, monkeypatch):
    monkeypatch.chdir(root)
    assert teacher_command(["inspect", "tests/fixtures/graphs/torch_pyramid.onnx"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"p8 .* 1 x 6 x 32 x 48 .* 8 .* yes", said)
    assert "neck: {4: p4, 8: p8}" in said
    found = candidates(folder / "torch_pyramid.onnx", inside=True)
    assert {one.name for one in found if one.output} == {"p4", "p8", "logits4", "logits8"}
    assert any(not one.output and one.stride == 8 for one in found)
    proposal = propose(found, ToyDetector().spec())
    assert proposal == {"neck": {4: "p4", 8: "p8"}, "cls_logits": {4: "logits4", 8: "logits8"}}

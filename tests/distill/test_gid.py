"""GID against a public reproduction, and what must hold beyond its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from loss_cases import assert_close, golden, leaf
from sides import side

from ppkd.config import load_config
from ppkd.distill import FrozenTeacher, Progress
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.losses import GID
from ppkd.distill.losses.gid.instances import find_instances
from ppkd.distill.losses.gid.pooling import pool_instances
from ppkd.distill.losses.gid.proposals import ProposalReader
from ppkd.distill.losses.gid.terms import feature_term, relation_term, response_terms
from ppkd.models import build_detector
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record, scores
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

ROOT = Path(__file__).resolve().parents[2]
TERMS = ("feature", "relation", "cls", "reg")


def detector(name, seed):
    paddle.seed(seed)
    model = build_detector(load_config(str(ROOT / f"configs/shapes/{name}_160_shapes.yml"), ["pretrain_weights=null"]))
    for parameter in model.parameters():
        if parameter.ndim > 1 and not parameter.stop_gradient:
            parameter.set_value(parameter + 0.02 * paddle.randn(parameter.shape))
    return model


def batch(images=2):
    paddle.seed(7)
    return {"image": paddle.randn([images, 3, 96, 96]), "im_shape": paddle.full([images, 2], 96.0)}


@pytest.fixture(scope="module")
def pair():
    """The sides of a RetinaNet and of a frozen one of other weights, and the truth of their batch."""
    student, teacher = detector("retinanet_r18", 0), FrozenTeacher(detector("retinanet_r18", 1))
    student.eval()
    seen = batch()
    record = student.extract(seen)
    return side(record, student), side(teacher(seen, like=record), teacher.detector), Truth.of(seen)


@pytest.mark.parametrize("name", ["gid_a", "gid_two"])
def test_terms_and_gradients(name):
    meta, arrays = golden(name)
    weights = meta["hyper"]["weights"]
    leaves = {key: leaf(array[None]) for key, array in arrays.items() if key.startswith("in.")}
    features = leaves["in.roi_feat_s"], leaves["in.roi_feat_t"]
    real = paddle.ones(features[0].shape[:2], dtype="bool")
    classes, boxes = response_terms(
        (leaves["in.cls_s"], leaves["in.cls_t"]), (leaves["in.reg_s"], leaves["in.reg_t"]), leaves["in.mask"] > 0
    )
    found = (feature_term(*features, real), relation_term(*features, real), classes, boxes)
    for term, value in zip(TERMS, found, strict=True):
        weighted = weights[term] * value
        assert_close(weighted, arrays[f"out.loss_{term}"], rtol=1e-5, message=term)
        tensor = leaves["in.roi_feat_s" if term in ("feature", "relation") else f"in.{term}_s"]
        expected = next(array for key, array in arrays.items() if key.startswith(f"grad.{term}."))
        gradient = paddle.grad(weighted, tensor, retain_graph=True)[0]
        assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * max(abs(expected).max(), 1e-6), message=term)


@pytest.mark.parametrize(("rule", "suffix"), [("class", ""), ("best", "_repo")])
def test_instances(rule, suffix):
    meta, arrays = golden("gid_select")
    tensors = [paddle.to_tensor(arrays[f"in.{key}"][None]) for key in ("prob_s", "prob_t", "box_s", "box_t")]
    size = paddle.to_tensor([[meta["hyper"]["H"], meta["hyper"]["W"]]], dtype="float32")
    found = find_instances(tuple(tensors[:2]), tuple(tensors[2:]), size, count=meta["hyper"]["topk"], rule=rule)
    assert_close(found.place[0], arrays[f"out.gi_index{suffix}"], rtol=0)
    assert found.real.all().item()
    if rule == "class":
        assert_close(found.boxes[0], arrays["out.gi_box"], rtol=1e-6)


def test_images_do_not_compete_and_missing_instances_are_marked():
    paddle.seed(0)
    scores = paddle.rand([2, 2, 40, 3])
    corners = 80 * paddle.rand([2, 2, 40, 2])
    boxes = paddle.concat([corners, corners + 30], axis=-1)
    boxes[:, 1, 3:] = 0.0
    size = paddle.full([2, 2], 100.0)
    both = find_instances((scores[0], scores[1]), (boxes[0], boxes[1]), size, count=6)
    for i in range(2):
        one = find_instances(
            (scores[0, i : i + 1], scores[1, i : i + 1]), (boxes[0, i : i + 1], boxes[1, i : i + 1]), size[:1], count=6
        )
        for name in ("boxes", "real"):
            np.testing.assert_array_equal(getattr(both, name)[i].numpy(), getattr(one, name)[0].numpy())
    assert 0 < both.real[1].sum().item() <= 3
    assert (both.boxes[1].sum(axis=1) > 0).tolist() == both.real[1].tolist()


def test_boxes_pool_from_the_level_of_their_size():
    levels = [paddle.full([1, channels, 64 >> i, 64 >> i], i + 1.0) for i, channels in enumerate((2, 2, 3))]
    sides = paddle.to_tensor([20.0, 112.0, 224.0, 448.0, 0.0])
    boxes = paddle.stack([0 * sides, 0 * sides, sides, sides], axis=1).unsqueeze(0)
    pooled = pool_instances(levels, [8, 16, 32], boxes, 4)
    assert pooled.shape == [1, 5, 3, 4, 4]
    assert pooled[0, :, 0].mean(axis=[1, 2]).tolist()[:3] == pytest.approx([1.0, 1.0, 2.0])
    assert pooled[0, :3, 2].abs().sum().item() == 0
    assert pooled[0, 3, 2].mean().item() == pytest.approx(3.0)


def test_terms_ignore_the_order_of_instances_and_what_is_not_there():
    paddle.seed(0)
    ours, theirs = paddle.randn([2, 4, 3, 2, 2]), paddle.randn([2, 4, 3, 2, 2])
    real = paddle.to_tensor([[True, True, True, False], [True, True, False, False]])
    order = paddle.to_tensor([2, 0, 1, 3])
    changed = ours + 9.0 * (~real).astype("float32").reshape([2, 4, 1, 1, 1])
    for term in (feature_term, relation_term):
        value = term(ours, theirs, real).item()
        assert value > 0
        turned = [one.index_select(order, axis=1) for one in (ours, theirs, real)]
        assert term(*turned).item() == pytest.approx(value, rel=1e-5)
        assert term(changed, theirs, real).item() == pytest.approx(value, rel=1e-5)
        assert term(ours, ours.clone(), real).item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_or_equal_instances_have_finite_gradients(count):
    ours, theirs = leaf(np.ones([1, 4, 3, 2, 2], "float32")), paddle.randn([1, 4, 3, 2, 2])
    real = paddle.arange(4).unsqueeze(0) < count
    relation = relation_term(ours, theirs, real)
    assert relation.item() == 0
    value = relation + feature_term(ours, theirs, real) + relation_term(ours, theirs, paddle.ones_like(real))
    value.backward()
    assert np.isfinite(value.item()) and np.isfinite(ours.grad.numpy()).all()
    none = paddle.zeros([1, 5], dtype="bool")
    pairs = (paddle.randn([1, 5, 3]), paddle.randn([1, 5, 3])), (paddle.randn([1, 5, 4]), paddle.randn([1, 5, 4]))
    assert [term.item() for term in response_terms(*pairs, none)] == [0, 0]


def test_a_teacher_that_agrees_teaches_no_boxes_and_no_features(pair):
    student, _, truth = pair
    loss = GID(student.spec, student.spec, adapt=False, class_weight=0.0)
    value = loss(student, student, truth, Progress())
    assert value.item() == pytest.approx(0, abs=1e-9)


def test_the_terms_add_up_and_each_gives_the_student_a_gradient(pair):
    student, teacher, truth = pair
    spec, record = student.spec, student.record
    names = ("feature_weight", "relation_weight", "class_weight", "box_weight")
    alone = []
    for name in names:
        loss = GID(spec, spec, adapt=False, **{other: float(other == name) for other in names})
        value = loss(student, teacher, truth, Progress())
        entry = {"class_weight": record.cls_logits, "box_weight": record.box_deltas}.get(name, record.neck)
        gradients = paddle.grad(value, entry, retain_graph=True, allow_unused=True)
        assert max(g.abs().sum().item() for g in gradients if g is not None) > 0, name
        alone.append(value.item())
    every = GID(spec, spec, adapt=False, **dict.fromkeys(names, 1.0))(student, teacher, truth, Progress())
    assert every.item() == pytest.approx(sum(alone), rel=1e-5)


@pytest.mark.parametrize("name", ["retinanet_r18", "gfl_r18", "yolov3_mobilenet_v1_x0.25"])
def test_detectors_tell_boxes_of_every_place_in_the_order_of_scores(name):
    model = detector(name, 0)
    model.eval()
    seen = {**batch(1), "scale_factor": paddle.ones([1, 2])}
    with paddle.no_grad():
        record = model.extract(seen)
        boxes = model.boxes(record)
        found = model.predict(seen)["bbox"]
    assert [level.shape[1] for level in boxes] == [
        level.shape[1] * level.shape[3] * level.shape[4] for level in record.cls_logits
    ]
    corners = paddle.concat(boxes, axis=1)[0].clip(0, 95.0).numpy()
    best = found.numpy()[np.argsort(-found.numpy()[:, 1])][:20]
    distance = np.abs(corners[None] - best[:, None, 2:].clip(0, 95.0)).max(axis=2)
    ranked = paddle.concat([level.transpose([0, 3, 4, 1, 2]).flatten(1, 3) for level in scores(record)], axis=1)
    ranked = ranked[0].numpy()
    near = distance.argmin(axis=1)
    assert distance[range(len(near)), near].max() < 1e-2
    labels = best[:, 0].astype(int)
    hits = [np.isclose(ranked[distance[i] < 1e-2, labels[i]], best[i, 1], rtol=1e-3).any() for i in range(len(best))]
    assert all(hits)


def test_levels_of_equal_channels_share_an_adapter():
    def spec(*channels):
        strides = (8, 16, 32)
        necks = tuple(LevelSpec(count, stride) for count, stride in zip(channels, strides, strict=True))
        heads = {count: tuple(LevelSpec(count, stride, 3) for stride in strides) for count in (3, 4)}
        entries = {
            "neck": Entry("feature", "grid", necks),
            "cls_logits": Entry("class", "grid", heads[3], activation="sigmoid"),
            "box_deltas": Entry("box", "grid", heads[4], coding="deltas"),
        }
        return DetectorSpec("Some", 3, entries, frozenset({"boxes", "assign"}))

    assert len(GID(spec(4, 4, 4), spec(8, 8, 8)).adapters) == 1
    assert len(GID(spec(4, 4, 2), spec(8, 8, 8)).adapters) == 2
    with pytest.raises(SpecError, match=r"GID.adapt is false.*\(4, 8\)"):
        GID(spec(4, 4, 4), spec(8, 8, 8), adapt=False)


def test_proposals_are_places():
    proposals = paddle.to_tensor([[[0.0, 0.0, 40.0, 40.0], [5.0, 5.0, 9.0, 90.0]]])
    logits, deltas = paddle.randn([1, 2, 4]), paddle.ones([1, 2, 12])
    entries = {
        "proposals": Entry.rows("box", 4, coding="corners"),
        "roi_logits": Entry.rows("class", 4, activation="softmax"),
        "roi_deltas": Entry.rows("box", 12, coding="deltas"),
    }
    tensors = {"proposals": [proposals], "roi_logits": [logits], "roi_deltas": [deltas]}
    record = Record(DetectorSpec("Some", 3, entries), tensors, paddle.to_tensor([[True, False]]))
    places = ProposalReader("roi_logits", "proposals", "roi_deltas").places(side(record), [0])
    assert places.boxes[0].tolist() == [[0.0, 0.0, 40.0, 40.0], [0.0] * 4]
    assert places.scores.shape == [1, 2, 3]
    assert_close(places.numbers.sum(axis=-1), [[4.0, 4.0]], rtol=1e-6)


def test_the_slim_file_is_the_published_setting(root):
    slim = load_config(str(root / "slim/distill/gid.yml"))
    check_slim(slim)
    assert (root / slim["teacher"]["config"]).is_file()
    spec = build_detector(
        load_config(str(root / "configs/shapes/retinanet_r18_160_shapes.yml"), ["pretrain_weights=null"])
    ).spec()
    built, default = build_losses(slim, spec, spec)["gid"], GID(spec, spec)
    keys = ("count", "side", "feature_weight", "relation_weight", "class_weight", "box_weight", "weight")
    assert [getattr(built, key) for key in keys] == [getattr(default, key) for key in keys]

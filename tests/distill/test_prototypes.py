"""Choosing prototypes: the authors' numbers, classes too small for their code, and the cost in instances."""

from __future__ import annotations

import json

import numpy as np
import paddle
import pytest
from loss_cases import GOLDEN, assert_close, golden_names, listed
from paddle.nn import functional as F

from benchmarks.prototypes import measure
from ppkd.distill.losses.global_knowledge.prototypes.pooling import pool_boxes
from ppkd.distill.losses.global_knowledge.prototypes.selection import (
    Selection,
    choices,
    dense_instances,
    density,
    select,
)

HYPER = json.loads((GOLDEN / "global_knowledge.json").read_text())


def arrays(name):
    with np.load(GOLDEN / f"{name}.npz") as found:
        return {key: value.astype("float32") if value.dtype == np.float16 else value for key, value in found.items()}


def settings(name):
    hyper = HYPER[name]
    return Selection(
        count=hyper["max_num_prototypes"],
        alpha=hyper["alpha"],
        quantile=hyper["density_quantile"],
        sigma=hyper["density_sigma"],
    )


@pytest.mark.parametrize("name", golden_names("gkpgm_"))
def test_every_step_is_the_authors(name):
    case, how = arrays(name), settings(name)
    ours, theirs = (paddle.to_tensor(case[f"in.feat_{side}"]) for side in "st")
    assert select(ours, theirs, how) == case["out.prototype_index"].tolist()
    units = F.normalize(ours, axis=1), F.normalize(theirs, axis=1)
    densities = [density(unit, how.sigma) for unit in units]
    for found, side in zip(densities, "st", strict=True):
        assert_close(found, case[f"out.density_{side}"], rtol=1e-5)
    candidates = dense_instances(*densities, how.quantile)
    for step, choice in enumerate(choices(*units, candidates, how)):
        assert_close(choice.objective, case["out.err"][step], rtol=1e-6)
        assert_close(choice.student, case["out.w_s"][step], rtol=1e-4, atol=1e-6)
        assert_close(choice.teacher, case["out.w_t"][step], rtol=1e-4, atol=1e-6)


def test_no_case_is_missing():
    assert len(golden_names("gkpgm_")) == 3 and len(golden_names("gkrdm_")) == 5


def random_features(count, channels=16, seed=0, spread=0.4):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((6, channels))[rng.integers(6, size=count)]
    found = [centres + spread * rng.standard_normal((count, channels)) for _ in range(2)]
    return [paddle.to_tensor(one.astype("float32")) for one in found]


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_small_classes_have_prototypes_too(count):
    chosen = select(*random_features(count), Selection())
    assert len(chosen) == 10
    assert set(chosen) <= set(range(count))
    different = select(*random_features(count), Selection(repeat=False))
    assert len(set(different)) == len(different) <= count


def test_identical_and_empty_features_are_no_trouble():
    same = paddle.ones([5, 4])
    assert select(same, same, Selection()) == [0] * 10
    nothing = paddle.zeros([5, 4])
    assert len(select(nothing, nothing, Selection())) == 10


def test_instances_dense_in_one_space_only_are_candidates_when_there_are_no_others():
    rising, falling = paddle.arange(4, dtype="float32"), paddle.arange(4, dtype="float32").flip(0)
    assert dense_instances(rising, rising, 0.4).tolist() == [2, 3]
    assert dense_instances(rising, falling, 0.4).tolist() == [1, 2]
    assert dense_instances(rising, falling, 0.8).tolist() == [0, 1, 2, 3]


def test_blocks_change_nothing(monkeypatch):
    features = random_features(130)
    whole = select(*features, Selection())
    units = F.normalize(features[0], axis=1)
    expected = density(units, 0.1)
    monkeypatch.setattr("ppkd.distill.losses.global_knowledge.prototypes.selection.BLOCK", 40)
    assert_close(density(units, 0.1), expected, rtol=1e-5)
    assert select(*features, Selection()) == whole


@pytest.mark.parametrize("repeat", [True, False])
def test_every_prototype_leaves_less_unexplained(repeat):
    units = [F.normalize(one, axis=1) for one in random_features(200)]
    how = Selection(repeat=repeat)
    candidates = dense_instances(*(density(unit, how.sigma) for unit in units), how.quantile)
    found = list(choices(*units, candidates, how))
    residuals = [unit.numpy() for unit in units]
    for choice in found:
        for side, (unit, weights) in enumerate(zip(units, (choice.student, choice.teacher), strict=True)):
            residuals[side] = residuals[side] - weights.numpy()[:, None] * unit[choice.index].numpy()
        gap = ((choice.student - choice.teacher) ** 2).sum().item()
        left = sum((residual**2).sum() for residual in residuals) + how.alpha * gap
        assert choice.objective.min().item() == pytest.approx(left, rel=1e-4)
    assert len({choice.index for choice in found}) == 10 or repeat


@pytest.mark.slow
def test_time_grows_at_most_with_the_square_and_memory_does_not():
    """A matrix of all similarities would take 137 MiB."""
    (short, _), (long, memory) = (measure(count, 64, rounds=2) for count in (500, 6000))
    assert long / short < 2 * 12**2
    assert memory < 100


def test_pooled_features_of_boxes():
    case, hyper = arrays("gkroi_a"), HYPER["gkroi_a"]
    for image in range(2):
        boxes = paddle.to_tensor(case[f"in.bbox.{image}"]).unsqueeze(0)
        for level, feature in enumerate(listed(case, f"in.feat.img{image}")):
            scale = feature.shape[3] / hyper["W"], feature.shape[2] / hyper["H"]
            expected = case[f"out.roi_feat.level{level}.img{image}"]
            assert_close(pool_boxes([feature], boxes, scale)[0], expected, rtol=1e-5, atol=1e-6)


def test_a_box_beyond_the_border_has_the_nearest_cells():
    feature = paddle.arange(12, dtype="float32").reshape([1, 1, 3, 4])
    boxes = paddle.to_tensor([[[50.0, 50.0, 60.0, 60.0], [-9.0, -9.0, -1.0, -1.0]]])
    assert pool_boxes([feature], boxes, (0.1, 0.1))[0].flatten().tolist() == [11.0, 0.0]

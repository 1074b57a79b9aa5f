"""What every detector promises."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from pairs import DETECTORS, HEIGHT, OWN_DETECTORS, WIDTH, batch, detector, small_config

from ppkd.deploy import Predictor, export_model
from ppkd.distill.methods import CLASSES
from ppkd.structures import NO_STRIDE

ALL = [*DETECTORS, *OWN_DETECTORS]


@pytest.mark.parametrize("name", ALL)
def test_records_are_those_of_the_spec_in_both_modes(name):
    model = detector(name, seed=0)
    spec = model.spec()
    assert spec.abilities == set(model.abilities())
    for mode in (model.train, model.eval):
        mode()
        record = model.extract(batch())
        assert record.spec == spec
        for entry, tensors in record.tensors.items():
            found = [tuple(tensor.shape) for tensor in tensors]
            if spec.entries[entry].kind == "rows":
                assert_rows(found, spec.entries[entry], record.real, entry)
            else:
                assert found == grid_shapes(spec.entries[entry], entry), entry


def grid_shapes(entry, name):
    """Maps of the neck [N, C, H, W], of heads [N, A, K, H, W]."""
    shapes = []
    for level in entry.levels:
        cells = (-(-HEIGHT // level.stride), -(-WIDTH // level.stride))
        shapes.append((2, level.channels, *cells) if name == "neck" else (2, level.anchors, level.channels, *cells))
    return shapes


def assert_rows(found, entry, real, name):
    """The same rows [N, R, K, ...] in every stage and entry."""
    assert len(found) == len(entry.levels), name
    for shape, level in zip(found, entry.levels, strict=True):
        assert level.stride == NO_STRIDE
        assert shape[0] == 2
        assert shape[2] == level.channels, name
        if real is not None:
            assert shape[:2] == tuple(real.shape), name


@pytest.mark.parametrize("name", ALL)
def test_grids_are_finest_first(name):
    for entry in detector(name, seed=0).spec().entries.values():
        if entry.kind == "grid":
            assert list(entry.strides) == sorted(set(entry.strides))


@pytest.mark.parametrize("name", ALL)
def test_the_neck_alone_is_the_neck_of_the_record(name):
    model = detector(name, seed=0)
    model.eval()
    for alone, level in zip(model.features(batch()), model.extract(batch()).neck, strict=True):
        np.testing.assert_array_equal(alone.numpy(), level.numpy())


@pytest.mark.parametrize("boxes", [(3, 1), (2, 0), (0, 0)])
@pytest.mark.parametrize("name", ALL)
def test_losses_are_finite_and_sum_to_their_total(name, boxes):
    model = detector(name, seed=0)
    terms = {key: value.item() for key, value in model(batch(boxes)).items()}
    assert np.isfinite(list(terms.values())).all()
    assert terms.pop("loss") == pytest.approx(sum(terms.values()), rel=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_one_step_downhill_lowers_the_loss(name):
    model = detector(name, seed=0)
    model.eval()
    sample = batch((3, 2))
    record = model.extract(sample)
    targets = model.assign(record, sample)
    before = sum(model.loss(record, targets).values())
    before.backward()
    trained = [p for p in model.parameters() if p.grad is not None]
    norm = sum((p.grad**2).sum().item() for p in trained) ** 0.5
    for p in trained:
        p.set_value(p - p.grad * (1e-3 * before.item() / norm**2))
    after = sum(model.loss(model.extract(sample, like=record), targets).values())
    assert after.item() < before.item()


@pytest.mark.parametrize("name", ALL)
def test_detections_are_rows_of_class_score_and_corners(name):
    model = detector(name, seed=0)
    model.eval()
    with paddle.no_grad():
        found = model.predict(batch())
    assert found["bbox_num"].shape == [2]
    assert found["bbox"].shape == [found["bbox_num"].sum().item(), 6]
    rows = found["bbox"].numpy()
    assert set(rows[:, 0]) <= set(range(CLASSES))
    assert ((rows[:, 1] >= 0) & (rows[:, 1] <= 1)).all()
    assert (rows[:, 4:] >= rows[:, 2:4]).all()


@pytest.mark.parametrize("name", ALL)
def test_boxes_and_scores_are_as_many_as_the_record_has_places(name):
    model = detector(name, seed=0)
    record, abilities = model.extract(batch()), model.abilities()
    (classes,) = record.spec.of("class")
    places = [level.shape[1] * int(np.prod(level.shape[3:])) for level in record[classes]]
    ranked = abilities["scores"](record)
    assert len(ranked) == len(places)
    for level, rank in zip(record[classes], ranked, strict=True):
        assert rank.shape[0] == 2
        assert rank.shape[3:] == level.shape[3:]
        assert ((rank >= 0) & (rank <= 1)).all()
    if "boxes" in abilities:
        assert [level.shape for level in abilities["boxes"](record)] == [[2, count, 4] for count in places]


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_the_exported_model_equals_the_eager_one(name, tmp_path):
    model = detector(name, seed=0)
    model.eval()
    predictor = Predictor(export_model(model, small_config(name), tmp_path), cpu_threads=1)
    picture = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    inputs = predictor.preprocess.collate([predictor.preprocess(picture).sample])
    with paddle.no_grad():
        eager = model.predict({key: paddle.to_tensor(value) for key, value in inputs.items()})
    found = predictor.predict([picture], 1)[0]
    np.testing.assert_allclose(found, eager["bbox"].numpy(), atol=1e-3)

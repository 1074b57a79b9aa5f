"""What every detector promises."""

from __future__ import annotations

import numpy as np
import paddle
import pytest
from pairs import DETECTORS, HEIGHT, WIDTH, batch, detector, small_config

from ppkd.deploy import Predictor, export_model
from ppkd.structures import PER_PROPOSAL


@pytest.mark.parametrize("name", DETECTORS)
def test_records_have_the_shapes_of_the_spec_in_both_modes(name):
    model = detector(name, seed=0)
    spec = model.spec()
    assert tuple(spec.entries) == model.record.entries()
    for mode in (model.train, model.eval):
        mode()
        record = model.extract(batch())
        assert isinstance(record, model.record)
        for entry, levels in spec.entries.items():
            found = [tuple(tensor.shape) for tensor in record.tensors(entry)]
            if levels[0].stride == PER_PROPOSAL:
                assert_per_proposal(entry, found, levels, record.proposals.shape[1])
                continue
            cells = [(-(-HEIGHT // level.stride), -(-WIDTH // level.stride)) for level in levels]
            if entry == "neck":
                expected = [(2, level.channels, *cell) for level, cell in zip(levels, cells, strict=True)]
            else:
                expected = [
                    (2, level.anchors, level.channels, *cell) for level, cell in zip(levels, cells, strict=True)
                ]
            assert found == expected, entry


def assert_per_proposal(entry, found, levels, proposals):
    (shape,), (level,) = found, levels
    if entry == "proposal_num":
        assert shape == (2,)
    else:
        assert shape[:3] == (2, proposals, level.channels), entry


@pytest.mark.parametrize("name", DETECTORS)
def test_the_neck_alone_is_the_neck_of_the_record(name):
    model = detector(name, seed=0)
    model.eval()
    for alone, level in zip(model.features(batch()), model.extract(batch()).neck, strict=True):
        np.testing.assert_array_equal(alone.numpy(), level.numpy())


@pytest.mark.parametrize("boxes", [(3, 1), (2, 0), (0, 0)])
@pytest.mark.parametrize("name", DETECTORS)
def test_losses_are_finite_and_sum_to_their_total(name, boxes):
    model = detector(name, seed=0)
    terms = {key: value.item() for key, value in model(batch(boxes)).items()}
    assert np.isfinite(list(terms.values())).all()
    assert terms.pop("loss") == pytest.approx(sum(terms.values()), rel=1e-6)


@pytest.mark.parametrize("name", DETECTORS)
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

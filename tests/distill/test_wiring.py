"""How losses see feature maps: in which unit, through which projection, with which levels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import paddle
import pytest
from sides import side
from toy import ToyDetector, toy_batch

from ppkd.config import Config, build, load_config
from ppkd.distill import DistillModel, FrozenTeacher, Progress
from ppkd.distill.calibration import calibrate
from ppkd.distill.cells.reached import positives
from ppkd.distill.losses import CWD, FGD, PKD, CrossKD, DeFeat, FeatureImitation, GlobalKnowledge, Mimic, OutputL2
from ppkd.models import build_detector
from ppkd.models.assigners.place_targets import PlaceTargets
from ppkd.structures import Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import ConfigError, SpecError

MAPS = [FGD, CWD, Mimic, DeFeat]


def batch_of(seed=0, images=2):
    return {**toy_batch(images, seed=seed), "im_shape": paddle.full([images, 2], 16.0)}


def distiller(loss, channels=4, teacher=None, **settings):
    paddle.seed(0)
    student, teacher = ToyDetector(), teacher or ToyDetector(channels=channels)
    made = loss(student.spec(), teacher.spec(), **settings)
    return DistillModel(student, FrozenTeacher.of_losses(teacher, [made]), {"kd": made})


class Louder(ToyDetector):
    """A detector each level of whose neck is as many times as loud."""

    factors = (1.0, 1.0)

    def features(self, batch):
        return [level * factor for level, factor in zip(super().features(batch), self.factors, strict=True)]


def value_from(loss, factors, **settings):
    paddle.seed(1)
    teacher = Louder()
    teacher.factors = factors
    if loss is Mimic:
        settings["normalize"] = False
    model = distiller(loss, teacher=teacher, **settings)
    model.eval()
    calibrate(model, [[batch_of(seed)] for seed in range(3)])
    return model(batch_of(9))["kd"].item()


@pytest.mark.parametrize("loss", MAPS)
def test_the_teachers_loudness_does_not_matter_in_units_of_its_own(loss):
    plain = value_from(loss, (1.0, 1.0), scale="rms")
    assert value_from(loss, (1024.0, 2.0**-7), scale="rms") == plain
    assert value_from(loss, (1000.0, 3.0), scale="rms") == pytest.approx(plain, rel=1e-5)
    assert value_from(loss, (1000.0, 3.0)) != pytest.approx(value_from(loss, (1.0, 1.0)), rel=0.1)


def test_the_unit_is_the_root_mean_square_of_the_first_batches():
    model = distiller(Mimic, scale="rms", normalize=False)
    batches = [batch_of(seed) for seed in range(10)]
    calibrate(model, [[batch] for batch in batches])
    maps = [model.teacher.detector.features(batch) for batch in batches[:8]]
    expected = [np.sqrt(np.mean([np.mean(one[level].numpy() ** 2) for one in maps])) for level in range(2)]
    np.testing.assert_allclose(model.losses["kd"].wiring.rms.numpy(), expected, rtol=1e-5)


def test_measured_in_parts_it_is_the_same():
    whole, parts = (distiller(Mimic, scale="rms", levels="objects") for _ in range(2))
    batches = [batch_of(seed, images=4) for seed in range(3)]
    halves = [
        [{key: value[part] for key, value in one.items()} for part in (slice(0, 2), slice(2, 4))] for one in batches
    ]
    calibrate(whole, [[batch] for batch in batches])
    calibrate(parts, halves)
    for name in ("rms", "level_weights"):
        found = [getattr(model.losses["kd"].wiring, name).numpy() for model in (whole, parts)]
        np.testing.assert_allclose(*found, rtol=1e-6)


def test_a_silent_level_keeps_the_unit_one():
    teacher = Louder()
    teacher.factors = (0.0, 1.0)
    model = distiller(Mimic, teacher=teacher, scale="rms")
    calibrate(model, [[batch_of()]])
    assert model.losses["kd"].wiring.rms[0].item() == 1.0


def test_what_is_measured_is_state_of_the_loss_and_never_of_the_student():
    model = distiller(FGD, scale="rms", levels="objects")
    added = {name for name in model.state_dict() if "wiring" in name}
    assert added == {"losses.kd.wiring.rms", "losses.kd.wiring.level_weights"}
    assert set(model.deployable().state_dict()) == set(ToyDetector().state_dict())
    assert not [name for name in distiller(FGD).state_dict() if "wiring" in name]


def test_standardised_maps_are_those_that_pkd_compares():
    plain, wired = distiller(PKD), distiller(Mimic, scale="standardize", normalize=False)
    for model in (plain, wired):
        model.eval()
    batch = batch_of()
    assert wired(batch)["kd"].item() == pytest.approx(plain(batch)["kd"].item() / 5.0, rel=1e-6)


@pytest.mark.parametrize("loss", [FGD, CWD, Mimic])
@pytest.mark.parametrize(("project", "tensors"), [("needed", 0), ("always", 2), ("mlp", 4)])
def test_equal_channels_are_projected_if_asked(loss, project, tensors):
    model = distiller(loss, project=project)
    trained = [name for name, _ in model.losses.named_parameters() if "wiring.projectors" in name]
    assert len(trained) == 2 * tensors
    assert all(getattr(formula, "align", None) is None for formula in model.losses["kd"].formulas)
    model(batch_of())["loss"].backward()
    assert all(p.grad is not None for name, p in model.losses.named_parameters() if "wiring" in name)


def test_a_projection_is_the_adapter_that_the_formula_would_have():
    """With other channels: the formula's own adapter and the wiring's, with the same numbers, give the same."""
    plain, wired = distiller(Mimic, channels=6), distiller(Mimic, channels=6, project="always")
    for formula, (layer,) in zip(
        plain.losses["kd"].formulas, wired.losses["kd"].wiring.projectors["neck"], strict=True
    ):
        layer.set_state_dict(formula.align.state_dict())
    batch = batch_of()
    assert wired(batch)["kd"].item() == plain(batch)["kd"].item()


def test_pkd_takes_other_channels_through_a_projection():
    with pytest.raises(SpecError, match="channels"):
        distiller(PKD, channels=6)
    assert distiller(PKD, channels=6, project="always")(batch_of())["kd"].item() > 0


@pytest.mark.parametrize(
    ("loss", "settings", "message"),
    [
        (OutputL2, {"scale": "rms"}, "OutputL2 has scale: rms, but compares no feature maps"),
        (CWD, {"consumes": ["cls_logits"], "levels": "objects"}, "compares no feature maps"),
    ],
)
def test_what_a_loss_has_not_is_refused(loss, settings, message):
    with pytest.raises(ConfigError, match=message):
        distiller(loss, **settings)


def test_maps_that_must_stay_as_recorded_are_refused(retina):
    spec = retina.spec()
    for settings in ({"scale": "rms"}, {"project": "always"}):
        with pytest.raises(ConfigError, match=r"CrossKD has .*, but needs complete"):
            CrossKD(spec, spec, **settings)
    with pytest.raises(ConfigError, match="CrossKD is no sum over levels"):
        CrossKD(spec, spec, levels="objects")
    with pytest.raises(ConfigError, match="GlobalKnowledge has project: always, but needs features"):
        GlobalKnowledge(spec, spec, project="always")
    assert GlobalKnowledge(spec, spec, scale="rms", levels="objects").wiring.strides == [8, 16, 32, 64, 128]


@pytest.fixture(scope="module")
def retina(root):
    return build_detector(load_config(str(root / "configs/shapes/retinanet_r18_160_shapes.yml")))


def test_unknown_values_are_named():
    toy = ToyDetector().spec()
    with pytest.raises(ConfigError, match=r"FGD.scale is \"rmse\", expected 'none', 'rms' or 'standardize'"):
        build(Config({}, {}), {"name": "FGD", "scale": "rmse"}, student=toy, teacher=toy)


def weighed(loss, counts, **settings):
    model = distiller(loss, levels="objects", **settings)
    model.eval()
    model.losses["kd"].wiring.set_levels(counts)
    return model


def test_levels_weigh_by_their_objects_and_add_up_to_those_that_have_any():
    assert weighed(FGD, {4: 3.0, 8: 1.0}).losses["kd"].wiring.level_weights.tolist() == [1.5, 0.5]
    assert weighed(FGD, {4: 3.0}).losses["kd"].wiring.level_weights.tolist() == [1.0, 0.0]
    assert weighed(FGD, {}).losses["kd"].wiring.level_weights.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("loss", MAPS)
def test_a_level_without_objects_counts_as_if_it_were_not_compared(loss):
    batch = batch_of()
    alone = distiller(loss, strides=[4])
    alone.eval()
    model = weighed(loss, {4: 7.0})
    model.losses["kd"].formulas[0].set_state_dict(alone.losses["kd"].formulas[0].state_dict())
    if loss is DeFeat:
        for each in (alone, model):
            each.losses["kd"].cells = replace(each.losses["kd"].cells, second_level_side=1e6)
    assert model(batch)["kd"].item() == pytest.approx(alone(batch)["kd"].item(), rel=1e-6)
    model.train()
    model(batch)["loss"].backward()
    gradients = [p.grad for p in model.losses["kd"].formulas[1].parameters() if not p.stop_gradient]
    assert all(not g.abs().max().item() for g in gradients)


def test_a_mean_over_levels_is_weighted():
    batch = batch_of()
    model = weighed(DeFeat, {4: 3.0, 8: 1.0})
    view = model.student.extract(batch), model.teacher(batch, None)
    loss = model.losses["kd"]
    values = [v.item() for v in loss.values(side(view[0]), side(view[1]), Truth.of(batch), Progress())]
    assert model(batch)["kd"].item() == pytest.approx(0.75 * values[0] + 0.25 * values[1], rel=1e-6)


def test_objects_are_counted_where_the_students_assigner_puts_them(retina):
    """Of a record with one anchor per cell: places level after level, rows, columns, anchors."""
    toy = ToyDetector()
    batch = batch_of()
    record = toy.extract(batch)
    chosen = np.zeros((2, 20), "float32")
    chosen[0, :3], chosen[1, 17] = 1, 1
    targets = PlaceTargets(paddle.zeros([2, 20], "int64"), paddle.to_tensor(chosen), paddle.zeros([2, 20], "int64"))
    found = {stride: count.item() for stride, count in positives(record, targets, Truth.of(batch)).items()}
    assert found == {4: 3.0, 8: 1.0}


def test_large_boxes_reach_coarse_levels_and_small_ones_fine_levels(retina):
    found = {}
    for name, corner in (("small", 20.0), ("large", 120.0)):
        boxes = [paddle.to_tensor([[4.0, 4.0, 4 + corner, 4 + corner]])]
        batch = {"image": paddle.zeros([1, 3, 128, 128]), "gt_bbox": boxes, "gt_class": [paddle.zeros([1], "int64")]}
        with paddle.no_grad():
            record = retina.extract(batch)
        truth = Truth.of(batch)
        counts = positives(record, retina.assign(record, truth), truth)
        found[name] = [counts[stride].item() for stride in (8, 16, 32, 64, 128)]
    assert found["small"][0] > 0 and not any(found["small"][2:])
    assert not any(found["large"][:2]) and sum(found["large"]) > 0


@pytest.mark.parametrize(
    "config", ["faster_rcnn_r18", "gfl_r18", "picodet_s", "ppyoloe_plus_crn", "yolov3_mobilenet_v1_x0.25"]
)
def test_every_kind_of_detector_tells_where_its_objects_are(root, config):
    """A box of 24 pixels is on finer levels than one of 120, and every level is known."""
    detector = build_detector(load_config(str(root / f"configs/shapes/{config}_160_shapes.yml")))
    found = []
    for side_of_box in (24.0, 120.0):
        boxes = [paddle.to_tensor([[4.0, 4.0, 4 + side_of_box, 4 + side_of_box]])]
        shape = {"im_shape": paddle.full([1, 2], 128.0), "is_crowd": [paddle.zeros([1])]}
        batch = {"image": paddle.zeros([1, 3, 128, 128]), "gt_bbox": boxes, "gt_class": [paddle.zeros([1], "int64")]}
        with paddle.no_grad():
            record = detector.extract({**batch, **shape})
        truth = Truth.of({**batch, **shape})
        counts = {stride: n.item() for stride, n in positives(record, detector.assign(record, truth), truth).items()}
        assert sorted(counts) == list(detector.spec().entries["neck"].strides) and sum(counts.values()) > 0
        found.append(sum(stride * n for stride, n in counts.items()) / sum(counts.values()))
    assert found[0] < found[1]


def test_features_of_proposals_are_no_maps(root):
    spec = build_detector(load_config(str(root / "configs/shapes/faster_rcnn_r18_160_shapes.yml"))).spec()
    wiring = GlobalKnowledge(spec, spec, scale="rms", levels="objects").wiring
    assert list(wiring.pairs) == ["neck"] and wiring.strides == list(spec.entries["neck"].strides)


def test_without_targets_by_place_cells_are_found_from_the_boxes():
    spec = ToyDetector().spec()
    record = Record(spec.only(["neck"]), {"neck": [paddle.zeros([1, 4, side, side]) for side in (16, 8)]})
    truth = Truth.around(paddle.to_tensor([[[10.0, 10.0, 40.0, 40.0]]]))
    found = {stride: count.item() for stride, count in positives(record, None, truth).items()}
    assert found[4] > 0 and found[8] == 0


def test_imitation_of_chosen_cells_weighs_levels_too(retina):
    loss = FeatureImitation(retina.spec(), retina.spec(), levels="objects")
    assert loss.level_strides == loss.wiring.strides == [8, 16, 32, 64, 128]

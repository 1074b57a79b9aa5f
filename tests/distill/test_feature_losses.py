"""Properties of the feature losses, alone and wired to records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest
from query_records import numbers as query_numbers
from query_records import record as query_record
from sides import side

from ppkd.config import Config, build, load_config
from ppkd.distill import Progress
from ppkd.distill.build import build_losses, check_slim
from ppkd.distill.losses import (
    CWD,
    FGD,
    MGD,
    PKD,
    CWDFeatureLoss,
    FGDFeatureLoss,
    KnowledgeDistillationKLDivLoss,
    MGDFeatureLoss,
    Mimic,
    MimicFeatureLoss,
    PKDFeatureLoss,
)
from ppkd.structures import DetectorSpec, Entry, LevelSpec, Record
from ppkd.structures.truth import Truth
from ppkd.utils.errors import SpecError

FORMULAS = [CWDFeatureLoss, FGDFeatureLoss, MGDFeatureLoss, MimicFeatureLoss, PKDFeatureLoss]
ADAPTED = [formula for formula in FORMULAS if formula is not PKDFeatureLoss]
SLIM = Path(__file__).resolve().parents[2] / "slim/distill"


def maps(channels=8, height=6, width=9, images=2, seed=0):
    paddle.seed(seed)
    return paddle.randn([images, channels, height, width])


def batch(counts=(2, 0)):
    return {
        "gt_bbox": [paddle.to_tensor([[4.0, 8.0, 40.0, 30.0], [20.0, 2.0, 70.0, 44.0]])[:count] for count in counts],
        "im_shape": paddle.to_tensor([[48.0, 72.0]] * len(counts)),
    }


def spec(name, channels, strides, anchors=1):
    levels = tuple(LevelSpec(channels, stride) for stride in strides)
    classes = tuple(LevelSpec(3, stride, anchors) for stride in strides)
    entries = {
        "neck": Entry("feature", "grid", levels),
        "cls_logits": Entry("class", "grid", classes, activation="sigmoid"),
    }
    return DetectorSpec(name, 3, entries)


def record(of, size=64, images=2, seed=0):
    paddle.seed(seed)
    levels, classes = (of.entries[name].levels for name in ("neck", "cls_logits"))
    neck = [paddle.randn([images, at.channels, size // at.stride, size // at.stride]) for at in levels]
    logits = [paddle.randn([images, at.anchors, at.channels, size // at.stride, size // at.stride]) for at in classes]
    return Record(of, {"neck": neck, "cls_logits": logits})


def value_of(loss, student, teacher):
    return loss(side(student), side(teacher), Truth.of(batch()), Progress())


@pytest.mark.parametrize("formula", [FGDFeatureLoss, CWDFeatureLoss, PKDFeatureLoss, MimicFeatureLoss])
def test_equal_maps_cost_nothing(formula):
    loss = formula(student_channels=8, teacher_channels=8)
    one = maps()
    one.stop_gradient = False
    value = loss(one, one.clone(), batch())
    value.backward()
    assert abs(value.item()) < 1e-6
    np.testing.assert_allclose(one.grad.numpy(), 0, atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("formula", ADAPTED)
def test_every_parameter_moves_and_the_loss_falls(formula, normalize):
    paddle.seed(1)
    loss = formula(student_channels=4, teacher_channels=8, normalize=normalize)
    student, teacher = maps(4), maps(8, seed=2)
    before = {name: p.numpy().copy() for name, p in loss.named_parameters()}
    optimizer = paddle.optimizer.Adam(1e-3, parameters=loss.parameters())
    values = []
    for _ in range(20):
        value = loss(student, teacher, batch())
        values.append(value.item())
        value.backward()
        optimizer.step()
        optimizer.clear_grad()
    assert values[-1] < values[0]
    still = [name for name, p in loss.named_parameters() if np.array_equal(before[name], p.numpy())]
    assert not still


def test_the_relation_loss_depends_on_both_context_blocks():
    paddle.seed(0)
    loss = FGDFeatureLoss(8, 8, alpha_fgd=0, beta_fgd=0, gamma_fgd=0, lambda_fgd=1.0)
    student, teacher = maps(), maps(seed=1)
    plain = ((student - teacher) ** 2).sum().item() / 2
    assert loss(student, teacher, batch()).item() == pytest.approx(plain, rel=1e-5)
    for block, mask in ((loss.stu_conv_block, loss.conv_mask_s), (loss.tea_conv_block, loss.conv_mask_t)):
        before = loss(student, teacher, batch()).item()
        block[3].weight.set_value(paddle.randn(block[3].weight.shape))
        moved = loss(student, teacher, batch()).item()
        assert abs(moved - before) > 1e-3 * before
        mask.weight.set_value(-3 * mask.weight)
        assert abs(loss(student, teacher, batch()).item() - moved) > 1e-5 * before


def test_fgd_is_the_mean_of_its_images():
    loss = FGDFeatureLoss(8, 8)
    student, teacher, both = maps(), maps(seed=1), batch((2, 0))
    alone = [
        loss(
            student[i : i + 1],
            teacher[i : i + 1],
            {"gt_bbox": both["gt_bbox"][i : i + 1], "im_shape": both["im_shape"][:1]},
        )
        for i in range(2)
    ]
    assert loss(student, teacher, both).item() == pytest.approx(sum(one.item() for one in alone) / 2, rel=1e-5)


@pytest.mark.parametrize("formula", [PKDFeatureLoss, MimicFeatureLoss])
def test_normalised_losses_ignore_scale_and_offset_of_channels(formula):
    loss, student, teacher = formula(8, 8), maps(), maps(seed=1)
    scale, offset = paddle.rand([1, 8, 1, 1]) + 0.5, paddle.randn([1, 8, 1, 1])
    value = loss(student, teacher).item()
    assert loss(student * scale + offset, teacher * 3 - 1).item() == pytest.approx(value, rel=1e-4)


def test_pkd_is_one_minus_pearson():
    student, teacher = maps(), maps(seed=1)
    rows = [np.moveaxis(x.numpy(), 1, 0).reshape(8, -1) for x in (student, teacher)]
    pearson = [np.corrcoef(own, other)[0, 1] for own, other in zip(*rows, strict=True)]
    cells = rows[0].shape[1]
    expected = (1 - np.mean(pearson)) * (cells - 1) / cells
    assert PKDFeatureLoss(8, 8)(student, teacher).item() == pytest.approx(expected, rel=1e-4)


def test_pkd_resizes_when_only_the_widths_differ():
    assert np.isfinite(PKDFeatureLoss(8, 8)(maps(width=5), maps()).item())


@pytest.mark.parametrize("formula", [PKDFeatureLoss, MimicFeatureLoss])
def test_constant_channels_and_single_cells_have_finite_gradients(formula):
    for student in (paddle.ones([2, 8, 6, 9]), paddle.ones([1, 8, 1, 1])):
        student.stop_gradient = False
        value = formula(8, 8)(student, paddle.randn(student.shape))
        value.backward()
        assert np.isfinite(value.item()) and np.isfinite(student.grad.numpy()).all()


def test_mgd_masks_its_share_of_cells_in_training_only():
    paddle.seed(0)
    loss = MGDFeatureLoss(8, 8, lambda_mgd=0.65)
    share = 1 - loss._mask(maps(height=100, width=100)).mean().item()
    assert share == pytest.approx(0.65, abs=0.02)
    student, teacher = maps(), maps(seed=1)
    assert loss(student, teacher).item() != loss(student, teacher).item()
    loss.eval()
    assert loss(student, teacher).item() == loss(student, teacher).item()


def test_kd_refuses_what_has_no_meaning():
    with pytest.raises(ValueError, match="avg_factor"):
        KnowledgeDistillationKLDivLoss(reduction="sum")(paddle.ones([2, 3]), paddle.ones([2, 3]), avg_factor=2.0)
    with pytest.raises(ValueError, match="none, mean, sum"):
        KnowledgeDistillationKLDivLoss(reduction="average")
    with pytest.raises(ValueError, match="temperature"):
        KnowledgeDistillationKLDivLoss(T=0.5)


@pytest.mark.parametrize("loss", [FGD, CWD, MGD, Mimic])
def test_wirings_pair_by_stride_and_size_their_adapters(loss):
    small, large = spec("Small", 4, (8, 16, 32)), spec("Large", 6, (4, 8, 16))
    built = loss(small, large)
    assert [(p.student, p.teacher, p.stride) for p in built.pairs["neck"]] == [(0, 1, 8), (1, 2, 16)]
    assert [tuple(formula.align.weight.shape) for formula in built.formulas] == [(6, 4, 1, 1)] * 2
    assert not {id(p) for p in built.formulas[0].parameters()} & {id(p) for p in built.formulas[1].parameters()}
    paddle.seed(0)
    found = value_of(built, record(small), record(large, seed=1))
    paddle.seed(0)
    student, teacher = record(small), record(large, seed=1)
    pairs = zip(built.formulas, student.neck[:2], teacher.neck[1:], strict=True)
    assert found.item() == pytest.approx(sum(f(s, t, batch()).item() for f, s, t in pairs), rel=1e-6)


def test_cwd_compares_class_maps_where_asked():
    small, large = spec("Small", 4, (8, 16), anchors=2), spec("Large", 6, (8, 16), anchors=2)
    built = CWD(small, large, consumes=["cls_logits"], tau=2.0)
    assert not list(built.parameters())
    student, teacher = record(small), record(large, seed=1)
    formula = CWDFeatureLoss(6, 6, tau=2.0)
    pairs = zip(student.cls_logits, teacher.cls_logits, strict=True)
    expected = sum(formula(s.reshape([2, 6, *s.shape[3:]]), t.reshape([2, 6, *t.shape[3:]])).item() for s, t in pairs)
    assert value_of(built, student, teacher).item() == pytest.approx(expected, rel=1e-5)
    both = CWD(small, large, consumes=["neck", "cls_logits"])
    assert len(both.formulas) == 4


def test_the_memory_of_queries_is_compared_like_a_neck():
    own, other = (query_record(query_numbers(seed)) for seed in (0, 1))
    loss = CWD(own.spec, other.spec, consumes=["memory"])
    value = loss(side(own), side(other), Truth.around(paddle.zeros([2, 1, 4])), Progress())
    levels = zip(own["memory"], other["memory"], strict=True)
    alone = sum(CWDFeatureLoss(6, 6)(one.squeeze(1), another.squeeze(1)).item() for one, another in levels)
    assert value.item() == pytest.approx(loss.formulas[0].loss_weight / CWDFeatureLoss(6, 6).loss_weight * alone)


def test_strides_choose_levels_and_unknown_ones_are_named():
    small, large = spec("Small", 4, (8, 16, 32)), spec("Large", 4, (8, 16, 32))
    assert [p.stride for p in PKD(small, large, strides=[8, 32]).pairs["neck"]] == [8, 32]
    with pytest.raises(SpecError, match=r"strides asks for \[64\].*Small.*Large.*\[8, 16, 32\]"):
        FGD(small, large, strides=[8, 64])


def test_pkd_says_that_it_cannot_align_channels():
    with pytest.raises(SpecError, match=r"Small from Large: PKD has no adapter.*4 \(student\).*6 \(teacher\)"):
        PKD(spec("Small", 4, (8,)), spec("Large", 6, (8,)))


PUBLISHED = {
    "fgd": {"temp": 0.5, "alpha_fgd": 1e-3, "beta_fgd": 5e-4, "gamma_fgd": 5e-4, "lambda_fgd": 5e-6},
    "cwd": {"tau": 1.0},
    "pkd": {"normalize": True},
    "mgd": {"loss_weight": 2e-5, "lambda_mgd": 0.65, "normalize": False, "loss_func": "mse"},
    "mimic": {"normalize": True},
}
WEIGHTS = {"fgd": 1.0, "cwd": 10.0, "pkd": 10.0, "mgd": 1.0, "mimic": 1.0}


@pytest.mark.parametrize("name", PUBLISHED)
def test_slim_files_state_the_published_setting(root, name):
    slim = load_config(str(SLIM / f"{name}.yml"))
    check_slim(slim)
    assert (root / slim["teacher"]["config"]).is_file()
    pyramid = spec("Pyramid", 4, (8, 16, 32, 64, 128))
    for loss in (
        build_losses(slim, pyramid, pyramid)[name],
        build(Config({}, {}), slim["losses"][name]["type"], student=pyramid, teacher=pyramid),
    ):
        assert loss.weight == WEIGHTS[name]
        assert {key: getattr(loss.formulas[0], key) for key in PUBLISHED[name]} == PUBLISHED[name]
    assert len(build_losses(slim, pyramid, pyramid)[name].formulas) == (4 if name == "pkd" else 5)


def test_a_neck_record_is_enough():
    small = spec("Small", 4, (8,))
    student, teacher = record(small).only(["neck"]), record(small, seed=1).only(["neck"])
    assert value_of(FGD(small, small), student, teacher).item() > 0

"""Slim files in PaddleDetection's form mean what ppkd's own mean, and leave the student's file alone."""

from __future__ import annotations

import logging

import pytest

from ppkd.config import load_config
from ppkd.distill import build_distiller
from ppkd.distill.build import check_slim
from ppkd.distill.paddledetection import left_alone, own_form
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError
from ppkd.utils.serialization import write_weights

STUDENT = "configs/shapes/gfl_r18_160_shapes.yml"

YOLO = """
distill_loss: DistillYOLOv3Loss
DistillYOLOv3Loss:
  weight: 500
"""
FGD = """
slim_method: FGD
distill_loss: FGDFeatureLoss
distill_loss_name: ['neck_f_4', 'neck_f_3', 'neck_f_2', 'neck_f_1', 'neck_f_0']
FGDFeatureLoss:
  student_channels: 256
  teacher_channels: 256
  temp: 0.5
  alpha_fgd: 0.001
  beta_fgd: 0.0005
  gamma_fgd: 0.0005
  lambda_fgd: 0.000005
"""
CWD = """
slim_method: CWD
distill_loss: CWDFeatureLoss
distill_loss_name: ['cls_f_4', 'cls_f_3']
CWDFeatureLoss:
  student_channels: 80
  teacher_channels: 80
  tau: 1.0
  weight: 5.0
"""
PPYOLOE = """
for_distill: True
slim_method: PPYOLOEDistill
distill_loss: DistillPPYOLOELoss
DistillPPYOLOELoss:
  loss_weight: {'logits': 4.0, 'feat': 1.0}
  logits_distill: True
  logits_loss_weight: {'class': 1.0, 'iou': 2.5, 'dfl': 0.5}
  logits_ld_distill: True
  logits_ld_params: {'weight': 20000, 'T': 10}
  feat_distill: True
  feat_distiller: 'fgd'
  feat_distill_place: 'neck_feats'
  teacher_width_mult: 1.25
  student_width_mult: 1.0
  feat_out_channels: [768, 384, 192]
"""
LD = "slim_method: LD\n"
LD_HEAD = """
LDGFLHead:
  loss_ld: {name: KnowledgeDistillationKLDivLoss, loss_weight: 0.5, T: 8}
  loss_kd: {name: KnowledgeDistillationKLDivLoss, loss_weight: 10, T: 2}
"""


@pytest.fixture
def slim_file(root, tmp_path):
    """Writes a slim file above the student's own configuration, with a schedule and a reader that differ."""

    def write(text, base=STUDENT, weights="teacher.pdparams"):
        path = tmp_path / "theirs.yml"
        head = f"_BASE_: ['{root / base}']\npretrain_weights: {weights}\nslim: Distill\nepoch: 99\n"
        path.write_text(f"{head}TrainReader: {{batch_size: 3}}\n{text}", encoding="utf-8")
        return path

    return write


def losses(path, overrides=(), student=None):
    return own_form(load_config(path, overrides), student).at("losses").to_dict()


def test_every_published_form_is_a_set_of_losses(slim_file):
    assert losses(slim_file(YOLO)) == {"distill_loss": {"type": "YOLOv3FineGrained", "weight": 500}}
    found = losses(slim_file(FGD))
    assert list(found) == ["neck_f_4", "neck_f_3", "neck_f_2", "neck_f_1", "neck_f_0"]
    published = load_config("slim/distill/fgd.yml").at("losses.fgd").to_dict()
    assert all(loss == published for loss in found.values())
    cwd = {"type": "CWD", "weight": 5.0, "tau": 1.0, "consumes": ["cls_logits"]}
    assert losses(slim_file(CWD)) == {"cls_f_4": cwd, "cls_f_3": cwd}
    assert losses(slim_file(CWD.replace("cls_f", "neck_f")))["neck_f_3"] == {
        k: cwd[k] for k in ("type", "weight", "tau")
    }


def test_ppyoloes_form_is_that_of_our_file(slim_file, root):
    path = slim_file(PPYOLOE, base="configs/ppyoloe/ppyoloe_plus_crn_x_80e_coco.yml", weights="x.pdparams")
    found = own_form(load_config(path)).to_dict()
    published = load_config("slim/distill/ppyoloe_plus_distill_l_from_x.yml").to_dict()
    assert found["losses"]["logits_loss"] == published["losses"]["logits"]
    assert found["losses"]["feat_loss"] == {**published["losses"]["feat"], "strides": [8, 16, 32]}
    assert {key: found[key] for key in ("student", "total_weight")} == {
        key: published[key] for key in ("student", "total_weight")
    }
    student = load_config(
        root / "configs/ppyoloe/ppyoloe_plus_crn_l_80e_coco.yml", ["PPYOLOEHead.static_assigner_epoch=7"]
    )
    check_slim(load_config(path), student)
    other = own_form(load_config(path), student)
    assert other.at("student.teacher_targets_from") == 7


@pytest.mark.parametrize(
    ("more", "changed"),
    [
        ("logits_ld_distill=false", {"logits_loss": {"kd_weight": 0.0}}),
        ("loss_weight={logits: 1, feat: 2}", {"logits_loss": {"weight": 1}, "feat_loss": {"weight": 2}}),
        ("feat_distiller=mimic", {"feat_loss": {"type": "Mimic"}}),
        ("feat_out_channels=[768, 384]", {"feat_loss": {"strides": [16, 32]}}),
        ("feat_distill=false", {"feat_loss": None}),
        ("loss_weight={logits: 0, feat: 2}", {"logits_loss": None}),
    ],
)
def test_ppyoloes_settings_are_read(slim_file, more, changed):
    found = losses(slim_file(PPYOLOE), [f"DistillPPYOLOELoss.{more}"])
    for name, settings in changed.items():
        assert (settings is None) == (name not in found)
        assert settings is None or settings.items() <= found[name].items()


def test_what_is_silent_has_paddledetections_defaults(slim_file):
    bare = "distill_loss_name: [neck_f_0]\nslim_method: {}\ndistill_loss: {}\n"
    assert losses(slim_file(bare.format("FGD", "FGDFeatureLoss")))["neck_f_0"] == {"type": "FGD", "gamma_fgd": 0.001}
    assert losses(slim_file(bare.format("CWD", "ChannelWiseDivergence")))["neck_f_0"] == {"type": "CWD", "weight": 1.0}
    assert losses(slim_file("distill_loss: DistillYOLOv3Loss"))["distill_loss"]["weight"] == 1000


def test_ld_takes_its_weights_from_the_students_head_or_as_published(slim_file, tmp_path):
    assert losses(slim_file(LD)) == load_config("slim/distill/ld.yml").at("losses").to_dict()
    student = tmp_path / "student.yml"
    student.write_text(LD_HEAD, encoding="utf-8")
    found = losses(slim_file(LD), student=load_config(student))
    assert found["loss_ld"] == {"type": "LD", "region": "main", "weight": 0.5, "T": 8}
    assert found["loss_ld_vlr"] == {"type": "LD", "region": "valuable", "weight": 1.0, "T": 10}
    assert found["loss_kd"] == {"type": "ClassKD", "region": "main", "weight": 10, "T": 2}


def test_overrides_reach_both_forms_of_the_keys(slim_file):
    path = slim_file(FGD)
    own = own_form(load_config(path, ["pretrain_weights=a.pdparams", "FGDFeatureLoss.temp=0.7"]))
    assert (own.at("teacher.weights"), own.at("losses.neck_f_4.temp")) == ("a.pdparams", 0.7)
    own = own_form(load_config(path, ["teacher.weights=b.pdparams", "losses.neck_f_4.weight=2", "student.inherit=[]"]))
    assert (own.at("teacher.weights"), own.at("losses.neck_f_4.weight")) == ("b.pdparams", 2)
    assert own.at("student.inherit") == ()


def test_our_own_form_stays_as_it_is(root):
    slim = load_config(root / "slim/distill/cwd.yml")
    assert own_form(slim) is slim


def test_the_teacher_is_the_file_without_what_is_about_distillation(slim_file, monkeypatch, root):
    monkeypatch.chdir(root)
    slim = load_config(slim_file(CWD, base="configs/gfl/gfl_r34vd_1x_coco.yml"))
    check_slim(slim)
    teacher = own_form(slim).at("teacher.config")
    assert teacher.at("ResNet.depth") == 34
    assert not {"slim", "slim_method", "distill_loss", "CWDFeatureLoss", "pretrain_weights"} & set(teacher)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slim_method: PPYOLOEDistil", r"theirs\.yml:6: slim_method PPYOLOEDistil is not translated; did you mean"),
        ("slim_method: PPYOLOEDistill", r"PPYOLOEDistill goes with distill_loss: DistillPPYOLOELoss, not with None"),
        (PPYOLOE.replace("feat_distiller:", "feat_distillr:"), r"theirs\.yml:17: .*did you mean 'feat_distiller'\?"),
        (PPYOLOE.replace("'fgd'", "'fdg'"), r'theirs\.yml:17: .*feat_distiller is "fdg", expected'),
        (PPYOLOE.replace("'dfl'", "'dfll'"), r"must have class, iou, dfl: dfll; did you mean 'dfl'"),
        (PPYOLOE.replace("neck_feats", "backbone_feats"), r"theirs\.yml:18: .*backbone_feats, but losses here compare"),
        ("slim_method: FDG", r"did you mean 'FGD'\?"),
        ("slim_method: FGD", r"distill_loss is None; translated are .*FGDFeatureLoss"),
        (FGD.replace("FGDFeatureLoss", "FGDFeatureLos"), r"did you mean 'FGDFeatureLoss'\?"),
        (FGD.replace("temp:", "tmp:"), r"theirs\.yml:13: FGD\.tmp is not a setting of FGD; did you mean 'temp'\?"),
        (FGD.replace("0.5", "half"), r'theirs\.yml:13: FGD\.temp is "half"'),
        (CWD.replace("'cls_f_3'", "'box_f_3'"), r"distill_loss_name has box_f_3, expected neck_f_0"),
        (CWD.replace("['cls_f_4', 'cls_f_3']", "cls_f_4"), r"must be a list such as"),
        (f"{FGD}ResNet: {{dept: 18}}", r"ResNet\.dept is not a setting of ResNet"),
    ],
)
def test_a_mistake_is_named_with_its_place(slim_file, text, message):
    with pytest.raises(ConfigError, match=message):
        check_slim(load_config(slim_file(text)))


def test_a_teacher_without_weights_is_refused(slim_file):
    with pytest.raises(ConfigError, match=r"teacher\.weights is missing"):
        check_slim(load_config(slim_file(FGD, weights="null")))


@pytest.fixture(scope="module")
def weights(root, tmp_path_factory):
    file = tmp_path_factory.mktemp("teacher") / "teacher.pdparams"
    write_weights(file, build_detector(load_config(root / STUDENT)).state_dict())
    return file


def test_names_are_levels_in_their_order_and_the_student_keeps_its_file(root, slim_file, weights, caplog):
    cfg = load_config(root / STUDENT)
    before = cfg.to_dict()
    with caplog.at_level(logging.INFO, logger="ppkd.distill"):
        kd = build_distiller(cfg, load_config(slim_file(CWD, weights=weights)))
    assert [(name, loss.pairs["cls_logits"][0].stride) for name, loss in kd.losses.items()] == [
        ("cls_f_4", 8),
        ("cls_f_3", 16),
    ]
    assert all(len(loss.pairs["cls_logits"]) == 1 for loss in kd.losses.values())
    assert cfg.to_dict() == before
    (line,) = [record.getMessage() for record in caplog.records if "student keeps" in record.getMessage()]
    assert line.endswith("theirs.yml also sets TrainReader, epoch: the student keeps its own, as -c says")


def test_more_names_than_levels_are_refused(root, slim_file, weights):
    slim = load_config(slim_file(CWD, weights=weights), [f"distill_loss_name={[f'cls_f_{i}' for i in range(6)]}"])
    with pytest.raises(ConfigError, match=r"cls_f_5 is level 6, but GFL has \[8, 16, 32, 64, 128\]"):
        build_distiller(load_config(root / STUDENT), slim)


def test_fgds_student_inherits_what_fits_and_its_own_weights_win(root, slim_file, weights, tmp_path):
    cfg = load_config(root / STUDENT, ["num_classes=2"])
    own = build_detector(cfg).state_dict()
    mine = {name: tensor for name, tensor in own.items() if name.startswith("neck.fpn_res3")}
    write_weights(tmp_path / "own.pdparams", mine)
    kd = build_distiller(cfg, load_config(slim_file(FGD, weights=weights)), pretrain=str(tmp_path / "own.pdparams"))
    student, teacher = kd.student.state_dict(), kd.teacher.detector.state_dict()
    behind = {name for name in student if not name.startswith("backbone.")}
    kept = {name for name in behind if student[name].shape != teacher[name].shape or not _equal(student, teacher, name)}
    assert kept == {"neck.fpn_res3_sum.weight", "head.gfl_head_cls.weight", "head.gfl_head_cls.bias"}
    assert _equal(student, mine, "neck.fpn_res3_sum.weight")


def _equal(ours, theirs, name):
    return (ours[name].numpy() == theirs[name].numpy()).all()


def test_overrides_of_the_student_are_nothing_the_slim_file_would_change(root, slim_file):
    slim = load_config(slim_file(CWD))
    mine = ["epoch=5", "TrainReader.batch_size=2", "EvalReader.sample_transforms.1.Resize.interp=2"]
    for overrides, named in (([], ["TrainReader", "epoch"]), (mine, [])):
        assert left_alone(slim, load_config(root / STUDENT, overrides)) == named

"""Published files of PaddleDetection: those of PP-YOLOE and PicoDet as they are written, and answers to the others."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddledetection_files import write_files

from benchmarks.published_files import Answer, answer, published, table
from ppkd.config import check, load_config
from ppkd.config.write import to_yaml
from ppkd.engine.ema import ModelEMA
from ppkd.models import build_detector
from ppkd.models.layers.rep_vgg import RepVggBlock
from ppkd.utils.errors import ConfigError

DETECTORS = "DETR, FasterRCNN, GFL, MaskRCNN, PPYOLOE, PicoDet, RetinaNet, YOLOv3"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path)


def alphas(model: paddle.nn.Layer, part: str) -> int:
    blocks = [block for block in getattr(model, part).sublayers() if isinstance(block, RepVggBlock)]
    return sum(block.alpha is not None for block in blocks)


@pytest.mark.parametrize(
    ("name", "in_neck"), [("crn_mine", False), ("crn_neck_alpha", True), ("distill/crn_student", False)]
)
def test_ppyoloe_is_known_by_its_head(folder: Path, name: str, in_neck: bool) -> None:
    config = load_config(folder / f"ppyoloe/{name}.yml", ["pretrain_weights=null"])
    check(config)
    model = build_detector(config)
    assert (config["architecture"], model.spec().name, "YOLOv3" in config) == ("PPYOLOE", "PPYOLOE", False)
    assert [level.channels for level in model.spec().entries["neck"].levels] == [24, 48, 96]
    assert alphas(model, "backbone") == 4
    assert bool(alphas(model, "neck")) == in_neck


def test_overrides_reach_ppyoloe_under_both_of_its_names(folder: Path) -> None:
    for name in ("YOLOv3", "PPYOLOE"):
        config = load_config(folder / "ppyoloe/crn_mine.yml", [f"{name}.neck={{name: CustomCSPPAN, spp: false}}"])
        assert config.at("PPYOLOE.neck.spp") is False
        assert config.where("PPYOLOE.neck.spp") == "-o"


def test_a_translated_file_is_written_and_loaded_again_as_it_is(folder: Path, tmp_path: Path) -> None:
    config = load_config(folder / "ppyoloe/crn_mine.yml")
    (tmp_path / "again.yml").write_text(to_yaml(config), encoding="utf-8")
    assert load_config(tmp_path / "again.yml").to_dict() == config.to_dict()


def test_what_the_black_list_names_is_no_average() -> None:
    layer = paddle.nn.Linear(2, 2)
    average = ModelEMA(layer, decay=0.5, decay_type="normal", black_list=("bias",))
    for value in (1.0, 3.0):
        for tensor in layer.state_dict().values():
            tensor.set_value(np.full(tensor.shape, value, "float32"))
        average.update()
    weights = average.weights()
    assert np.allclose(weights["weight"], (0.25 * 1 + 0.5 * 3) / 0.75)
    assert (weights["bias"] == 3.0).all()


def test_a_repeated_key_of_a_published_file_is_noted_and_the_last_counts(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="ppkd.config"):
        config = load_config(folder / "picodet/pico_mine.yml")
    assert config["snapshot_epoch"] == 1
    assert ["snapshot_epoch" in text for text in caplog.messages] == [True]
    check(config)
    assert build_detector(config).spec().name == "PicoDet"


@pytest.mark.parametrize(
    ("name", "override", "said"),
    [
        (
            "ppyoloe/crn_mine",
            "architecture=CascadeRCNN",
            rf"CascadeRCNN is not among our detectors: {DETECTORS}; of two",
        ),
        (
            "ppyoloe/crn_mine",
            "architecture=SOLOv2",
            rf"not among our detectors: {DETECTORS}; masks are built for MaskRCNN alone",
        ),
        ("ppyoloe/crn_mine", "architecture=FCOS", rf"^-o: FCOS is not among our detectors: {DETECTORS}$"),
        ("ppyoloe/crn_mine", "architecture=PPYOLOEWithAuxHead", "ppyoloe_plus_crn_"),
        (
            "ppyoloe/crn_mine",
            "YOLOv3.yolo_head=PPYOLOERHead",
            "PPYOLOERHead is not .* heads: .*; rotated boxes are not",
        ),
        ("ppyoloe/crn_mine", "UnsupTrainDataset={}", "semi-supervised training is not built; UnlabelledDataset"),
        ("ppyoloe/crn_mine", "CustomCSPPAN.use_trans=true", "SOD.* is not built; PP-YOLOE's files"),
        ("ppyoloe/crn_mine", "PPYOLOEHead.use_varifocal_loss=false", "use_varifocal_loss is false, expected True"),
        (
            "picodet/pico_mine",
            "PicoDet.backbone=ESNet",
            r"ESNet is not among our backbones: .*; the files picodet_\*_lcnet",
        ),
        ("picodet/pico_mine", "PicoDet.neck=CSPPAN", r"CSPPAN is not among our necks: .*LCPAN.*picodet_\*_lcnet"),
        (
            "picodet/pico_mine",
            "PicoDet.head=PicoHead",
            r"PicoHead is not among our heads: PicoHeadV2; .*picodet_\*_lcnet",
        ),
        (
            "picodet/pico_mine",
            "PicoHeadV2.nms=SoftNMS",
            "SoftNMS is not among what PicoHeadV2.nms takes: .*MultiClassNMS",
        ),
        ("faster_rcnn/c4", "BBoxHead.head=XConvNormHead", "XConvNormHead is not among our heads: Res5Head, TwoFCHead$"),
        (
            "faster_rcnn/c4",
            "BBoxHead.cot_classes=20",
            "cot_classes is not a setting of BBoxHead; training by label co-tuning is not",
        ),
        ("faster_rcnn/c4", "FasterRCNN.backbone=SwinTransformer", "SwinTransformer is not among our backbones: CSPRes"),
        (
            "rtdetr/rtdetr_mine",
            "DETR.transformer=DINOTransformer",
            r"DINOTransformer is not among what DETR.transformer takes: RTDETRTransformer; of queries there is RT-DETR",
        ),
        ("rtdetr/rtdetr_mine", "DETR.neck=MaskHybridEncoder", "masks are not built; of queries there is RT-DETR"),
        ("rtdetr/rtdetr_mine", "DETR.post_process_semi=x", "semi-supervised training is not built"),
        ("rtdetr/rtdetr_mine", "use_focal_loss=false", "use_focal_loss is false, expected True"),
        ("slim/quant/yolo_mine_qat", "epoch=1", "a slim file is given with --slim_config, beside -c"),
    ],
)
def test_what_is_not_here_is_answered_by_its_name(folder: Path, name: str, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        check(load_config(folder / f"{name}.yml", [override]))
    assert "did you mean" not in str(error.value)


def test_rtdetr_as_it_is_published(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(folder / "rtdetr/rtdetr_mine.yml")
    with caplog.at_level(logging.INFO, logger="ppkd.config"):
        check(config)
    for idle in ("eval_size", "ema_filter_no_grad", "RTDETRTransformer (position_embed_type, feat_strides)"):
        assert idle in caplog.text
    spec = build_detector(config).spec()
    assert [level.channels for level in spec.entries["neck"].levels] == [32] * 3
    assert len(spec.entries["query_boxes"].levels) == 2


def test_a_second_stage_of_the_backbones_last_blocks(folder: Path) -> None:
    config = load_config(folder / "faster_rcnn/c4.yml")
    check(config)
    model = build_detector(config)
    model.eval()
    with paddle.no_grad():
        record = model.extract({"image": paddle.randn([1, 3, 50, 70])})
    assert [tuple(one.shape) for one in (*record["neck"], record.roi_features, record.roi_logits)] == [
        (1, 256, 4, 5),
        (1, 8, 256, 14, 14),
        (1, 8, 81),
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("BBoxHead.with_pool=false", "with_pool is false, but Res5Head gives maps: write with_pool: true"),
        ("BBoxHead.head=TwoFCHead", "resolution is 14, but its head's resolution is 7"),
        ("Res5Head.depth=50", "reads the 1024 channels of res4, but the maps have 256: set depth to the backbone's"),
        (
            "FasterRCNN.neck={name: FPN, out_channel: 8}",
            r"\[16.0\], but the neck's levels have strides \[16, 32\]",
        ),
    ],
)
def test_parts_of_c4_that_do_not_fit(folder: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_detector(load_config(folder / "faster_rcnn/c4.yml", [override]))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("batch_size=4", "did you mean TrainReader.batch_size or EvalReader.batch_size or TestReader.batch_size?"),
        ("lr=0.1", "did you mean LearningRate.base_lr?"),
        ("device=cpu", "did you mean use_gpu=false (the CPU) or use_gpu=true?"),
        ("epochs=3", "did you mean 'epoch'?"),
    ],
)
def test_an_override_at_the_wrong_place_is_told_the_right_one(folder: Path, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"^-o: {override.split('=')[0]} is not a key of a .*; {re.escape(said)}$"):
        check(load_config(folder / "yolo/yolo_mine.yml", [override]))


@pytest.mark.parametrize("override", ["ema_skip_names=1", "use_extra_data=true", "tepm=2"])
def test_nothing_far_fetched_is_suggested(folder: Path, override: str) -> None:
    with pytest.raises(ConfigError, match=rf"^-o: {override.split('=')[0]} is not a key of a configuration$"):
        check(load_config(folder / "yolo/yolo_mine.yml", [override]))


def test_the_table_counts_what_works_and_why_the_rest_does_not() -> None:
    answers = [
        Answer(Path("a/x.yml")),
        Answer(Path("a/y.yml"), f"a/y.yml:1: FCOS is not among our detectors: {DETECTORS}; more"),
        Answer(Path("b/z.yml"), "b/z.yml:3: slim: OFA is a once-for-all network, which ppkd does not do: no"),
    ]
    assert table(answers).splitlines()[2:] == [
        "| a | 2 | 1 | 1: FCOS is not among our detectors |",
        "| b | 1 | 0 | 1: slim: OFA is a once-for-all network |",
        "| all | 3 | 1 | 2 |",
    ]


@pytest.mark.slow
def test_every_published_file_works_or_is_answered_in_one_line_and_the_page_counts_them(root: Path) -> None:
    if "PADDLEDETECTION" not in os.environ:
        pytest.skip("PADDLEDETECTION names no checkout of PaddleDetection: its published files are not tried")
    checkout = Path(os.environ["PADDLEDETECTION"])
    answers = [answer(path, checkout) for path in published(checkout)]
    errors = [each.error for each in answers if each.error]
    assert [text for text in errors if "\n" in text or not re.match(r"\S+\.yml:\d+: ", text)] == []
    assert [text for text in errors if "did you mean" in text] == []
    assert table(answers) in (root / "docs/migration.md").read_text(encoding="utf-8")

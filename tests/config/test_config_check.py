from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ppkd.config import Runtime, check, load_config, runtime
from ppkd.utils.errors import ConfigError

CONFIG = "configs/yolov3/yolov3_mobilenet_v1_270e_coco.yml"

PADDLEDETECTION = """
YOLOv3FPN:
TrainDataset: !COCODataSet
  dataset_dir: d
  anno_path: a.json
  data_fields: ['image', 'gt_bbox', 'gt_class', 'is_crowd']
TestDataset: !ImageFolder {anno_path: a.json}
BBoxPostProcess: {nms: {cpu: True}}
LearningRate:
  base_lr: 1e-3
  schedulers:
  - name: CosineDecay
    max_epochs: 270
  - !LinearWarmup
    start_factor: 0.
    steps: 4000
TrainReader:
  inputs_def: {num_max_boxes: 50}
  batch_transforms:
  - BatchRandomResize: {target_size: [320, 352], random_size: True, random_interp: True, keep_ratio: False}
  - NormalizeBox: {}
  - PadBox: {num_max_boxes: 50}
  - BboxXYXY2XYWH: {}
  - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: True}
  - Permute: {}
  - Gt2YoloTarget: {anchor_masks: [[0], [1]], anchors: [[10, 13], [16, 30]], downsample_ratios: [32, 16]}
EvalReader: {collate_batch: false, batch_size: 1}
"""


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epochs=3", r"^-o: epochs is not a key of a configuration; did you mean 'epoch'\?"),
        ("epoch=many", r'^-o: epoch is "many", expected a valid integer'),
        ("epoch=-1", "epoch is -1, expected at least 0"),
        ("ema_decay=1.5", "ema_decay is 1.5, expected at least 0, below 1"),
        ("num_classes=0", "num_classes is 0, expected at least 1"),
        ("metric=COCOO", r"metric is \"COCOO\", expected 'COCO' or 'VOC'"),
        ("use_gpu=1", "use_gpu is 1, expected a valid boolean"),
        ("export.nmss=true", r"export\.nmss is not a setting of export; did you mean 'nms'\?"),
        ("export=true", "export must be a mapping"),
        (
            "architecture=YOLOv4",
            r"^-o: YOLOv4 is not among our detectors: DETR, FasterRCNN, GFL, MaskRCNN, PPYOLOE, PicoDet, .*YOLOv3$",
        ),
        ("YOLOv3Head.anchor_maks=[[0]]", r"YOLOv3Head\.anchor_maks is not .*; did you mean 'anchor_masks'\?"),
        ("YOLOv3Head.anchors=[[1, a]]", r'YOLOv3Head\.anchors\[0\]\[1\] is "a"'),
        ("YOLOv3Loss.ignore_thres=0.5", r"did you mean 'ignore_thresh'\?"),
        ("YOLOv3Hed.loss=YOLOv3Loss", r"YOLOv3Hed is not a key .*; did you mean 'YOLOv3Head'\?"),
        ("BBoxPostProcess.nms.nms_thresh=0.5", r"MultiClassNMS\.nms_thresh is not .*'nms_threshold'"),
        ("YOLOv3.backbone=MobileNets", r"MobileNets is not among our backbones: .*, MobileNet, .*, ResNet$"),
        ("LearningRate.base_l=1", r"LearningRate\.base_l is not .*'base_lr'"),
        ("LearningRate.schedulers.0.gama=1", r"PiecewiseDecay\.gama is not .*'gamma'"),
        ("LearningRate.schedulers.0.gamma=x", r'gamma is "x", expected a valid number or a valid array'),
        ("OptimizerBuilder.optimiser.type=SGD", r"OptimizerBuilder\.optimiser is not .*'optimizer'"),
        ("TrainReader.batchsize=2", r"TrainReader\.batchsize is not .*'batch_size'"),
        ("TrainReader.batch_size=two", r'TrainReader\.batch_size is "two"'),
        ("TrainReader.sample_transforms={Decode: {}}", "sample_transforms must be a list"),
        ("TrainReader.sample_transforms.0={Decod: {}}", r"no component 'Decod'; did you mean 'Decode'\?"),
        ("EvalReader.sample_transforms.1.Resize.target_siz=[1]", r"Resize\.target_siz is not .*'target_size'"),
        ("TestReader.inputs_def.image_shap=[3]", r"image_shap is not .*'image_shape'"),
        ("TestReader.inputs_def=3", r"TestReader\.inputs_def is 3"),
        ("TestReader.inputs_def.image_shape=160", r"inputs_def\.image_shape is 160, expected a valid array"),
        ("TrainDataset.anno_pat=x", r"COCODataSet\.anno_pat is not .*'anno_path'"),
        ("EvalDataset.name=CocoDataSet", r"no component 'CocoDataSet'; did you mean 'COCODataSet'\?"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_the_nearest_name(root: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check(load_config(root / CONFIG, [override]))


def test_the_place_is_the_line_of_the_file(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(f"_BASE_: {root / CONFIG}\n\nYOLOv3Head:\n  anchor_maks: [[0]]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yml:4: YOLOv3Head\.anchor_maks is not a setting of YOLOv3Head"):
        check(load_config(path))


def test_values_kept_for_reuse_are_no_unknown_keys(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "mine.yml"
    text = "eval_size: &size [32, 32]\nEvalReader:\n  sample_transforms: [{Resize: {target_size: *size}}]\n"
    path.write_text(f"_BASE_: {root / CONFIG}\n{text}", encoding="utf-8")
    check(load_config(path))


def test_a_file_written_for_paddledetection_is_valid(tmp_path: Path, root: Path) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(f"_BASE_: {root / CONFIG}\n{PADDLEDETECTION}", encoding="utf-8")
    check(load_config(path))


def test_keys_without_effect_are_noted_once(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="ppkd.config"):
        check(load_config(root / CONFIG, ["use_xpu=false", "ResNet.depth=18"]))
    assert [record.getMessage().split(": ", 1)[1] for record in caplog.records] == [
        "without effect here: ResNet, use_xpu"
    ]


def test_runtime_has_paddledetections_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("architecture: YOLOv3\nnum_classes: null\nexport: {nms: false}\n", encoding="utf-8")
    options = runtime(load_config(tmp_path / "a.yml"))
    assert isinstance(options, Runtime)
    assert (options.metric, options.num_classes, options.log_iter, options.save_dir) == ("COCO", 80, 20, "output")
    assert (options.use_gpu, options.use_ema, options.ema_decay, options.filename) == (True, False, 0.9998, "a")
    assert (options.export.nms, options.export.post_process) == (False, True)


def test_runtime_needs_an_architecture(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("epoch: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"a\.yml:1: needs the key 'architecture'"):
        runtime(load_config(tmp_path / "a.yml"))

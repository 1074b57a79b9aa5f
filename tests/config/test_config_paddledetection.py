"""Files as a PaddleDetection user holds them, with every construct of that dialect."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ppkd.config import Config, build, check, load_config, runtime
from ppkd.data.reader import compose
from ppkd.engine.optim import build_optimizer
from ppkd.engine.schedules import build_schedule
from ppkd.models import build_detector
from ppkd.utils.errors import ConfigError

FILES = {
    "runtime.yml": """
use_gpu: true
use_xpu: false
use_mlu: false
use_npu: false
log_iter: 5
save_dir: output
print_flops: false
print_params: false
export:
  post_process: True  # a remark
  nms: True
  benchmark: False
  fuse_conv_bn: False
""",
    "datasets/tagged.yml": """
metric: VOC
map_type: integral
num_classes: 2
TrainDataset:
  !VOCDataSet
    dataset_dir: dataset/mine
    anno_path: train.txt
    label_list: label_list.txt
    data_fields: ['image', 'gt_bbox', 'gt_class', 'difficult']
EvalDataset: !VOCDataSet {dataset_dir: dataset/mine, anno_path: valid.txt, label_list: label_list.txt}
TestDataset:
  !ImageFolder
    anno_path: dataset/mine/label_list.txt
""",
    "datasets/named.yml": """
metric: COCO
num_classes: 2
TrainDataset:
  name: COCODataSet
  image_dir: train
  anno_path: annotations/train.json
  dataset_dir: dataset/mine
  data_fields: ['image', 'gt_bbox', 'gt_class', 'gt_poly', 'is_crowd']
EvalDataset:
  name: COCODataSet
  image_dir: val
  anno_path: annotations/val.json
  dataset_dir: dataset/mine
  allow_empty: true
TestDataset:
  name: ImageFolder
  anno_path: annotations/val.json
  dataset_dir: dataset/mine
""",
    "yolo/_base_/optimizer.yml": """
epoch: 9
LearningRate:
  base_lr: 0.002
  schedulers:
  - !PiecewiseDecay
    gamma: 0.1
    milestones:
    - 6
    - 8
  - !LinearWarmup
    start_factor: 0.
    steps: 40
OptimizerBuilder:
  clip_grad_by_norm: 35.
  optimizer:
    momentum: 0.9
    type: Momentum
  regularizer:
    factor: 0.0005
    type: L2
""",
    "yolo/_base_/model.yml": """
architecture: YOLOv3
pretrain_weights: https://paddledet.bj.bcebos.com/models/pretrained/MobileNetV1_pretrained.pdparams
norm_type: sync_bn
use_ema: true
ema_decay: 0.9998
YOLOv3:
  backbone: MobileNet
  neck: YOLOv3FPN
  yolo_head: YOLOv3Head
  post_process: BBoxPostProcess
MobileNet:
  scale: 0.25
  feature_maps: [4, 6, 13]
  with_extra_blocks: false
  extra_block_filters: []
# YOLOv3FPN:
YOLOv3Head:
  anchors: [[10, 13], [16, 30], [33, 23],
            [30, 61], [62, 45], [59, 119],
            [116, 90], [156, 198], [373, 326]]
  anchor_masks: [[6, 7, 8], [3, 4, 5], [0, 1, 2]]
  loss: YOLOv3Loss
YOLOv3Loss:
  ignore_thresh: 0.7
  downsample: [32, 16, 8]
  label_smooth: false
BBoxPostProcess:
  decode: {name: YOLOBox, conf_thresh: 0.005, downsample_ratio: 32, clip_bbox: true}
  nms: {name: MultiClassNMS, keep_top_k: 100, score_threshold: 0.01, nms_threshold: 0.45, nms_top_k: 1000, cpu: True}
""",
    "yolo/_base_/reader.yml": """
worker_num: 2
TrainReader:
  inputs_def: {num_max_boxes: 50}
  sample_transforms:
    - Decode: {}
    - Mixup: {alpha: 1.5, beta: 1.5}
    - RandomDistort: {}
    - RandomExpand: {fill_value: [123.675, 116.28, 103.53]}
    - RandomCrop: {}
    - RandomFlip: {}
  batch_transforms:
    - BatchRandomResize: {target_size: [96, 128], random_size: True, random_interp: True, keep_ratio: False}
    - NormalizeBox: {}
    - PadBox: {num_max_boxes: 50}
    - BboxXYXY2XYWH: {}
    - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: True}
    - Permute: {}
    - Gt2YoloTarget: {anchor_masks: [[0]], anchors: [[10, 13]], downsample_ratios: [32], num_classes: 2}
  batch_size: 8
  shuffle: true
  drop_last: true
  mixup_epoch: 7
  use_shared_memory: true
EvalReader:
  inputs_def: {num_max_boxes: 50}
  sample_transforms: &plain
    - Decode: {}
    - Resize: {target_size: [128, 128], keep_ratio: False, interp: 2}
    - NormalizeImage: {mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], is_scale: True}
    - Permute: {}
  batch_size: 1
  collate_batch: false
  drop_empty: false
TestReader:
  inputs_def: {image_shape: [3, 128, 128]}
  sample_transforms: *plain
  batch_size: 1
  fuse_normalize: true
""",
    "yolo/yolo_mine.yml": """
_BASE_: [
  '../datasets/tagged.yml',
  '../runtime.yml',
  '_base_/optimizer.yml',
  '_base_/model.yml',
  '_base_/reader.yml',
]
snapshot_epoch: 5
weights: output/yolo_mine/model_final
find_unused_parameters: true
YOLOv3Loss:
  label_smooth: true
""",
    "gfl/gfl_mine.yml": """
_BASE_: ['../datasets/named.yml', '../runtime.yml']
architecture: GFL
weights: output/gfl_mine/model_final
epoch: 4
LearningRate:
  base_lr: 0.01
  schedulers:
  - name: CosineDecay
    max_epochs: 4
  - !ExpWarmup {epochs: 1, power: 2}
OptimizerBuilder:
  optimizer:
    type: Momentum
    weight_decay: 0.0001
    momentum: 0.9
GFL:
  backbone: ResNet
  neck: FPN
  head: LDGFLHead
ResNet: {depth: 18, variant: d, norm_type: bn, freeze_at: 0, return_idx: [1,2,3], num_stages: 4}
FPN: {out_channel: 64, spatial_scales: [0.125, 0.0625, 0.03125], extra_stage: 2, has_extra_convs: true, use_c5: false}
LDGFLHead:
  conv_feat: {name: FCOSFeat, feat_in: 64, feat_out: 64, num_convs: 1, norm_type: "gn", use_dcn: false}
  fpn_stride: [8, 16, 32, 64, 128]
  prior_prob: 0.01
  reg_max: 16
  loss_class: {name: QualityFocalLoss, use_sigmoid: True, beta: 2.0, loss_weight: 1.0}
  loss_dfl: {name: DistributionFocalLoss, loss_weight: 0.25}
  loss_bbox: {name: GIoULoss, loss_weight: 2.0}
  loss_ld: {name: KnowledgeDistillationKLDivLoss, loss_weight: 0.25, T: 10}
  loss_kd: {name: KnowledgeDistillationKLDivLoss, loss_weight: 10, T: 2}
  nms: {name: MultiClassNMS, nms_top_k: 1000, keep_top_k: 100, score_threshold: 0.025, nms_threshold: 0.6}
TrainReader:
  sample_transforms:
  - Decode: {}
  - RandomResize: {target_size: [[96, 160], [128, 160]], interp: 2, keep_ratio: True}
  - RandomFlip: {prob: 0.5}
  - NormalizeImage: {is_scale: true, mean: [0.485,0.456,0.406], std: [0.229, 0.224,0.225]}
  - Permute: {}
  batch_transforms:
  - PadBatch: {pad_to_stride: 32}
  - Gt2GFLTarget:
      downsample_ratios: [8, 16, 32, 64, 128]
      grid_cell_scale: 8
  batch_size: 2
""",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def note(config: Config, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ppkd.config"):
        check(config)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(config.path)
    return line.split("without effect here: ")[1].split(", ")


def test_every_key_is_used_or_named(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(folder / "yolo/yolo_mine.yml")
    assert ", ".join(note(config, caplog)) == (
        "EvalReader (collate_batch, drop_empty), EvalReader.inputs_def.num_max_boxes, "
        "Gt2YoloTarget (anchor_masks, anchors, downsample_ratios, num_classes), MultiClassNMS (cpu), "
        "PadBox (num_max_boxes), TestReader (fuse_normalize), TrainReader.inputs_def.num_max_boxes, "
        "VOCDataSet (data_fields), use_mlu, use_npu, use_xpu"
    )


def test_a_file_of_yolov3_gives_what_it_says(folder: Path) -> None:
    config = load_config(folder / "yolo/yolo_mine.yml")
    options = runtime(config)
    assert (options.norm_type, options.snapshot_epoch, options.epoch, options.log_iter) == ("sync_bn", 5, 9, 5)
    assert (options.use_ema, options.metric, options.map_type, options.num_classes) == (True, "VOC", "integral", 2)
    model = build_detector(config)
    assert model.spec().num_classes == 2
    schedule = build_schedule(config, 10)
    assert [schedule(step) for step in (0, 20, 40, 60, 80)] == pytest.approx([0, 0.001, 0.002, 0.0002, 0.00002])
    build_optimizer(config, model.parameters())
    for name in ("TrainReader", "EvalReader", "TestReader"):
        reader = build(config, name)
        assert reader.mixup_epoch == (7 if name == "TrainReader" else -1)
        assert len(compose(config, name, "sample_transforms", reader.sample_transforms).transforms) >= 4


def test_a_student_of_ld_is_a_plain_gfl(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = load_config(folder / "gfl/gfl_mine.yml")
    assert "GFLHead (loss_ld, loss_kd)" in ", ".join(note(config, caplog))
    model = build_detector(config)
    assert model.spec().entries["box_dist"][0].channels == 4 * 17
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ppkd.engine"):
        build_optimizer(config, model.parameters())
    (record,) = caplog.records
    assert record.getMessage().startswith("weight_decay has no effect on Momentum: the regularizer is")


def test_a_typing_error_beside_accepted_keys_is_still_one(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"GFLHead\.loss_lld is not a setting of GFLHead"):
        check(load_config(folder / "gfl/gfl_mine.yml", ["LDGFLHead.loss_lld=1"]))


def test_a_key_of_older_files_is_answered_with_todays(folder: Path) -> None:
    for override, today in (
        ("use_fine_grained_loss=true", "slim/distill/yolov3_fine_grained"),
        ("max_iters=9", "epoch"),
    ):
        with pytest.raises(ConfigError, match=f"is of PaddleDetection before 2.0: .*{today}"):
            check(load_config(folder / "yolo/yolo_mine.yml", [override]))

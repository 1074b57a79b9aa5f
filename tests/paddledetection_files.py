"""Configurations as a PaddleDetection user holds them: every construct of that dialect, by path below ``configs/``."""

from __future__ import annotations

from pathlib import Path

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
num_classes: 3
TrainDataset:
  !VOCDataSet
    dataset_dir: dataset/bccd
    anno_path: ImageSets/Main/trainval.txt
    label_list: label_list.txt
    data_fields: ['image', 'gt_bbox', 'gt_class', 'difficult']
EvalDataset: !VOCDataSet {dataset_dir: dataset/bccd, anno_path: ImageSets/Main/test.txt, label_list: label_list.txt}
TestDataset:
  !ImageFolder
    anno_path: dataset/bccd/label_list.txt
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
    - Gt2YoloTarget: {anchor_masks: [[0]], anchors: [[10, 13]], downsample_ratios: [32], num_classes: 3}
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
    "ppyoloe/_base_/crn.yml": """
architecture: YOLOv3
norm_type: sync_bn
use_ema: true
ema_decay: 0.9998
ema_black_list: ['proj_conv.weight']
custom_black_list: ['reduce_mean']
YOLOv3:
  backbone: CSPResNet
  neck: CustomCSPPAN
  yolo_head: PPYOLOEHead
  post_process: ~
CSPResNet:
  layers: [1, 1, 1, 1]
  channels: [16, 32, 64, 128, 256]
  return_idx: [1, 2, 3]
  use_large_stem: True
  use_alpha: True
CustomCSPPAN: {out_channels: [192, 96, 48], stage_num: 1, block_num: 1, act: 'swish', spp: true}
PPYOLOEHead:
  fpn_strides: [32, 16, 8]
  grid_cell_scale: 5.0
  grid_cell_offset: 0.5
  static_assigner_epoch: -1
  use_varifocal_loss: True
  loss_weight: {class: 1.0, iou: 2.5, dfl: 0.5}
  static_assigner: {name: ATSSAssigner, topk: 9}
  assigner: {name: TaskAlignedAssigner, topk: 13, alpha: 1.0, beta: 6.0}
  nms: {name: MultiClassNMS, nms_top_k: 1000, keep_top_k: 300, score_threshold: 0.01, nms_threshold: 0.7}
""",
    "ppyoloe/_base_/reader.yml": """
eval_height: &eval_height 128
eval_width: &eval_width 128
eval_size: &eval_size [*eval_height, *eval_width]
TrainReader:
  sample_transforms: [Decode: {}, RandomDistort: {}, RandomExpand: {fill_value: [123.7, 116.3, 103.5]}, RandomCrop: {}]
  batch_transforms:
    - BatchRandomResize: {target_size: [128, 192], random_size: True, random_interp: True, keep_ratio: False}
    - NormalizeImage: &plain {mean: [0., 0., 0.], std: [1., 1., 1.], norm_type: none}
    - Permute: {}
    - PadGT: {}
  batch_size: 2
  shuffle: true
  drop_last: true
  use_shared_memory: true
  collate_batch: true
EvalReader:
  sample_transforms: &evaluated
    - Decode: {}
    - Resize: {target_size: *eval_size, keep_ratio: False, interp: 2}
    - NormalizeImage: *plain
    - Permute: {}
  batch_size: 2
TestReader:
  inputs_def: {image_shape: [3, *eval_height, *eval_width]}
  sample_transforms: *evaluated
  batch_size: 1
""",
    "ppyoloe/crn_mine.yml": """
_BASE_: ['../datasets/tagged.yml', '../runtime.yml', '../yolo/_base_/optimizer.yml', '_base_/crn.yml',
         '_base_/reader.yml']
depth_mult: 0.33
width_mult: 0.50
weights: output/crn_mine/model_final
""",
    "ppyoloe/crn_neck_alpha.yml": """
_BASE_: ['crn_mine.yml']
CustomCSPPAN: {use_alpha: True}
""",
    "ppyoloe/distill/crn_student.yml": """
_BASE_: ['../crn_mine.yml']
for_distill: True
architecture: PPYOLOE
PPYOLOE: {backbone: CSPResNet, neck: CustomCSPPAN, yolo_head: PPYOLOEHead, post_process: ~}
""",
    "picodet/pico_mine.yml": """
_BASE_: ['../datasets/tagged.yml', '../runtime.yml', '../yolo/_base_/optimizer.yml', '../ppyoloe/_base_/reader.yml']
snapshot_epoch: 10
cycle_epoch: 40
keep_best_weight: True
weights: output/pico_mine/model_final
use_ema: true
architecture: PicoDet
PicoDet: {backbone: LCNet, neck: LCPAN, head: PicoHeadV2, nms_cpu: True}
LCNet: {scale: 0.35, feature_maps: [3, 4, 5]}
LCPAN: {out_channels: 32, use_depthwise: True, num_features: 4}
PicoHeadV2:
  conv_feat: {name: PicoFeat, feat_in: 32, feat_out: 32, num_convs: 1, num_fpn_stride: 4, share_cls_reg: True}
  fpn_stride: [8, 16, 32, 64]
  feat_in_chan: 32
  loss_class: {name: VarifocalLoss, use_sigmoid: False, iou_weighted: True, loss_weight: 1.0}
  loss_dfl: {name: DistributionFocalLoss, loss_weight: 0.5}
  loss_bbox: {name: GIoULoss, loss_weight: 2.5}
  nms: {name: MultiClassNMS, nms_top_k: 1000, keep_top_k: 100, score_threshold: 0.025, nms_threshold: 0.6}
snapshot_epoch: 1
""",
    "rtdetr/rtdetr_mine.yml": """
_BASE_: ['../datasets/tagged.yml', '../runtime.yml']
epoch: 72
find_unused_parameters: True
LearningRate:
  base_lr: 0.0001
  schedulers:
  - !PiecewiseDecay {gamma: 1.0, milestones: [100], use_warmup: true}
  - !LinearWarmup {start_factor: 0.001, steps: 2000}
OptimizerBuilder:
  clip_grad_by_norm: 0.1
  regularizer: false
  optimizer: {type: AdamW, weight_decay: 0.0001}
norm_type: sync_bn
use_ema: True
ema_decay: 0.9999
ema_decay_type: "exponential"
ema_filter_no_grad: True
hidden_dim: 32
use_focal_loss: True
eval_size: [640, 640]
architecture: DETR
DETR:
  {backbone: ResNet, neck: HybridEncoder, transformer: RTDETRTransformer, detr_head: DINOHead,
   post_process: DETRPostProcess}
ResNet:
  {depth: 18, variant: d, norm_type: bn, freeze_at: 0, return_idx: [1, 2, 3], lr_mult_list: [0.1, 0.1, 0.1, 0.1],
   num_stages: 4, freeze_stem_only: True}
HybridEncoder:
  hidden_dim: 32
  use_encoder_idx: [2]
  num_encoder_layers: 1
  encoder_layer:
    {name: TransformerLayer, d_model: 32, nhead: 4, dim_feedforward: 64, dropout: 0., activation: 'gelu'}
  expansion: 0.5
  depth_mult: 0.34
RTDETRTransformer:
  {num_queries: 30, position_embed_type: sine, feat_strides: [8, 16, 32], num_levels: 3, nhead: 4, num_decoder_layers:
   2, dim_feedforward: 64, dropout: 0.0, activation: relu, num_denoising: 10, label_noise_ratio: 0.5,
   box_noise_scale: 1.0, learnt_init_query: False}
DINOHead:
  loss:
    name: DINOLoss
    loss_coeff: {class: 1, bbox: 5, giou: 2}
    aux_loss: True
    use_vfl: True
    matcher: {name: HungarianMatcher, matcher_coeff: {class: 2, bbox: 5, giou: 2}}
DETRPostProcess: {num_top_queries: 30}
TrainReader:
  sample_transforms: [Decode: {}, RandomDistort: {prob: 0.8}, RandomCrop: {prob: 0.8}, RandomFlip: {}]
  batch_transforms:
    - BatchRandomResize: {target_size: [96, 128], random_size: True, random_interp: True, keep_ratio: False}
    - NormalizeImage: {mean: [0., 0., 0.], std: [1., 1., 1.], norm_type: none}
    - NormalizeBox: {}
    - BboxXYXY2XYWH: {}
    - Permute: {}
  batch_size: 4
  collate_batch: false
""",
    "faster_rcnn/c4.yml": """
architecture: FasterRCNN
FasterRCNN: {backbone: ResNet, rpn_head: RPNHead, bbox_head: BBoxHead, bbox_post_process: BBoxPostProcess}
ResNet: {depth: 18, variant: d, norm_type: bn, freeze_at: 0, return_idx: [2], num_stages: 3}
RPNHead:
  anchor_generator: {aspect_ratios: [0.5, 1.0, 2.0], anchor_sizes: [32, 64, 128, 256, 512], strides: [16]}
  rpn_target_assign: {batch_size_per_im: 256, fg_fraction: 0.5, negative_overlap: 0.3, positive_overlap: 0.7}
  train_proposal: {min_size: 0.0, nms_thresh: 0.7, pre_nms_top_n: 12000, post_nms_top_n: 20, topk_after_collect: False}
  test_proposal: {min_size: 0.0, nms_thresh: 0.7, pre_nms_top_n: 6000, post_nms_top_n: 8}
Res5Head: {depth: 18}
BBoxHead:
  head: Res5Head
  roi_extractor: {resolution: 14, sampling_ratio: 0, aligned: True}
  bbox_assigner: BBoxAssigner
  with_pool: true
BBoxAssigner: {batch_size_per_im: 512, bg_thresh: 0.5, fg_thresh: 0.5, fg_fraction: 0.25, use_random: True}
BBoxPostProcess:
  decode: RCNNBox
  nms: {name: MultiClassNMS, keep_top_k: 100, score_threshold: 0.05, nms_threshold: 0.5}
""",
    "slim/quant/yolo_mine_qat.yml": """
pretrain_weights: output/teacher/model_final.pdparams
slim: QAT
QAT:
  quant_config: {'weight_bits': 8, 'activation_bits': 8, 'dtype': 'int8', 'quantizable_layer_type': ['Conv2D']}
  print_model: True
""",
    "slim/ofa/yolo_mine_ofa.yml": """
slim: OFA
OFA: {ofa_config: {task: expand_ratio, expand_ratio: [0.5, 1]}}
""",
    "slim/extensions/yolo_mine_distill_prune.yml": """
_BASE_: ['../../yolo/yolo_mine.yml']
pretrain_weights: output/teacher/model_final.pdparams
slim: DistillPrune
distill_loss: DistillYOLOv3Loss
DistillYOLOv3Loss: {weight: 1000}
pruner: Pruner
Pruner: {criterion: l1_norm, pruned_params: ['conv2d_27.w_0'], pruned_ratios: [0.1]}
""",
    "slim/distill/yolo_mine_distill.yml": """
_BASE_: [
  '../../yolo/yolo_mine.yml',
]
# the teacher's weights
pretrain_weights: output/teacher/model_final.pdparams

slim: Distill
distill_loss: DistillYOLOv3Loss

DistillYOLOv3Loss:
  weight: 10

MobileNet:
  scale: 0.5

LearningRate:
  base_lr: 1.0
""",
}


def write_files(folder: Path) -> Path:
    """Writes :data:`FILES` below ``folder``, which it returns."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder

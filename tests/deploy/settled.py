"""Detectors of every kind, small, with numbers of the size that trained ones have; a picture to compare them on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import paddle
from paddle import nn

from ppkd.config import Config, load_config
from ppkd.data.shapes import Look, draw_image
from ppkd.models import build_detector

ROOT = Path(__file__).resolve().parents[2]
SHAPES, REAL_DATA = ROOT / "configs/shapes", ROOT.parent / "shared/data"
DGQP = "{name: DGQP, reg_topk: 4, reg_channels: 64, add_mean: true}"
DETECTORS: dict[str, tuple[str, ...]] = {
    "YOLOv3": ("yolov3_mobilenet_v1_x0.25_160_shapes",),
    "RetinaNet": ("retinanet_r18_160_shapes",),
    "GFL": ("gfl_r18_160_shapes",),
    "GFLV2": ("gfl_r18_160_shapes", f"GFLHead.dgqp_module={DGQP}", "GFLHead.loss_qfl.use_sigmoid=false"),
    "FasterRCNN": ("faster_rcnn_r18_160_shapes",),
    "PPYOLOE": ("ppyoloe_plus_crn_160_shapes",),
    "PicoDet": ("picodet_s_160_shapes",),
    "DETR": ("rtdetr_r18_160_shapes",),
}
COMMON = (
    "pretrain_weights=null",
    "TestReader.inputs_def.image_shape=[3, -1, -1]",
    "TestDataset.label_list=[disc, 三角, square, cross]",
    "num_classes=4",
)


def small_config(name: str, *overrides: str) -> Config:
    """The configuration of a small detector."""
    file, *own = DETECTORS[name]
    return load_config(str(SHAPES / f"{file}.yml"), [*COMMON, f"filename={name}", *own, *overrides])


def small(name: str, *overrides: str) -> tuple[Config, nn.Layer]:
    """The configuration and the detector, in evaluation mode."""
    cfg = small_config(name, *overrides)
    paddle.seed(3)
    return cfg, settle(build_detector(cfg))


@paddle.no_grad()
def settle(model: nn.Layer) -> nn.Layer:
    """Gives BatchNorm the statistics of noise, random numbers to weights of zero, and qualities that differ."""
    for name, parameter in model.named_parameters():
        if "dgqp" in name and parameter.ndim > 1:
            parameter.set_value(100 * parameter)
        if parameter.ndim > 1 and not parameter.abs().max().item():
            parameter.set_value(0.01 * paddle.randn(parameter.shape))
    model.eval()
    norms = [(layer, layer._momentum) for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    for norm, _ in norms:
        norm._momentum = 0.0
        norm.train()
    size = paddle.full([2, 2], 160.0)
    model.extract({"image": paddle.randn([2, 3, 160, 160]), "im_shape": size, "scale_factor": paddle.ones([2, 2])})
    for norm, momentum in norms:
        norm._momentum = momentum
    model.eval()
    return model


def picture(folder: Path) -> Path:
    """A small part of a photograph of blood cells, drawn shapes where the data are absent."""
    photo = REAL_DATA / "bccd/JPEGImages/BloodImage_00001.jpg"
    image = cv2.imread(str(photo)) if photo.is_file() else draw_image(400, np.random.default_rng(1), Look.of(0.0))[0]
    path = folder / "picture.png"
    cv2.imwrite(str(path), image[40:232, 60:316])
    return path

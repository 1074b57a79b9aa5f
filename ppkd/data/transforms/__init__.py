"""Transforms of images and boxes, under PaddleDetection's names and with its settings."""

from ppkd.data.transforms.base import Compose, Fixed, GroupTransform, Sample, Transform, Views
from ppkd.data.transforms.crop import RandomCrop
from ppkd.data.transforms.decode import Decode
from ppkd.data.transforms.distort import RandomDistort
from ppkd.data.transforms.flip import RandomFlip
from ppkd.data.transforms.mixup import Mixup
from ppkd.data.transforms.multiscale import MultiscaleTestResize
from ppkd.data.transforms.normalize import NormalizeImage, Permute
from ppkd.data.transforms.pad import Pad, PadBatch, PadStride, RandomExpand
from ppkd.data.transforms.resize import BatchRandomResize, RandomResize, Resize
from ppkd.data.transforms.targets import BboxXYXY2XYWH, Gt2GFLTarget, Gt2YoloTarget, NormalizeBox, PadBox, PadGT

__all__ = [
    "BatchRandomResize",
    "BboxXYXY2XYWH",
    "Compose",
    "Decode",
    "Fixed",
    "GroupTransform",
    "Gt2GFLTarget",
    "Gt2YoloTarget",
    "Mixup",
    "MultiscaleTestResize",
    "NormalizeBox",
    "NormalizeImage",
    "Pad",
    "PadBatch",
    "PadBox",
    "PadGT",
    "PadStride",
    "Permute",
    "RandomCrop",
    "RandomDistort",
    "RandomExpand",
    "RandomFlip",
    "RandomResize",
    "Resize",
    "Sample",
    "Transform",
    "Views",
]

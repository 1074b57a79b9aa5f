"""Distillation losses, one method per file: formulas on tensors, and the classes that wire them to records."""

from ppkd.distill.losses.output_l2 import OutputL2
from ppkd.distill.losses.yolov3_fine_grained import DistillYOLOv3Loss, YOLOv3FineGrained

__all__ = ["DistillYOLOv3Loss", "OutputL2", "YOLOv3FineGrained"]

"""Figures of merit: COCO's twelve and PASCAL VOC's mean average precision."""

from ppkd.metrics.build import build_metric
from ppkd.metrics.coco import COCOMetric
from ppkd.metrics.metric import Metric
from ppkd.metrics.voc import ClassRow, VOCMetric

__all__ = ["COCOMetric", "ClassRow", "Metric", "VOCMetric", "build_metric"]

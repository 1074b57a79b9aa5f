"""Data sets: COCO json, VOC xml, YOLO txt and folders of images."""

from ppkd.data.datasets.coco import COCODataSet
from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.data.datasets.image_folder import ImageFolder
from ppkd.data.datasets.voc import VOCDataSet
from ppkd.data.datasets.yolo import YOLODataSet

__all__ = ["COCODataSet", "DetectionDataset", "ImageFolder", "VOCDataSet", "YOLODataSet"]

"""Data sets: COCO json, VOC xml and folders of images."""

from ppkd.data.datasets.coco import COCODataSet
from ppkd.data.datasets.dataset import DetectionDataset
from ppkd.data.datasets.image_folder import ImageFolder
from ppkd.data.datasets.voc import VOCDataSet

__all__ = ["COCODataSet", "DetectionDataset", "ImageFolder", "VOCDataSet"]

"""Data sets, transforms and the loader: from files to the batch that detectors take."""

from ppkd.data.annotation import Annotation
from ppkd.data.build import build_dataset, build_loader
from ppkd.data.datasets import DetectionDataset
from ppkd.data.loader import Loader
from ppkd.data.reader import build_reader

__all__ = ["Annotation", "DetectionDataset", "Loader", "build_dataset", "build_loader", "build_reader"]

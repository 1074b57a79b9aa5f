"""What passes between the modules: batches, records and specs."""

from ppkd.structures.batch import Batch
from ppkd.structures.records import BoxDeltaRecord, DenseRecord, DistributionRecord, Record, YOLORecord
from ppkd.structures.specs import DetectorSpec, LevelSpec

__all__ = [
    "Batch",
    "BoxDeltaRecord",
    "DenseRecord",
    "DetectorSpec",
    "DistributionRecord",
    "LevelSpec",
    "Record",
    "YOLORecord",
]

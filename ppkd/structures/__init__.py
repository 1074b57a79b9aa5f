"""What passes between the modules: batches, records and specs."""

from ppkd.structures.batch import Batch
from ppkd.structures.records import BoxDeltaRecord, DenseRecord, DistributionRecord, Record, RoIRecord, YOLORecord
from ppkd.structures.specs import PER_PROPOSAL, DetectorSpec, LevelSpec

__all__ = [
    "PER_PROPOSAL",
    "Batch",
    "BoxDeltaRecord",
    "DenseRecord",
    "DetectorSpec",
    "DistributionRecord",
    "LevelSpec",
    "Record",
    "RoIRecord",
    "YOLORecord",
]

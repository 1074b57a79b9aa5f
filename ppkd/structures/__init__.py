"""What passes between the modules: batches, records and specs."""

from ppkd.structures.batch import Batch
from ppkd.structures.records import (
    FEATURES,
    BoxDeltaRecord,
    DenseRecord,
    DistributionRecord,
    QualityRecord,
    Record,
    RoIRecord,
    TowerDeltaRecord,
    TowerDistributionRecord,
    TowerQualityRecord,
    TowerRecord,
    YOLORecord,
)
from ppkd.structures.specs import PER_PROPOSAL, DetectorSpec, LevelSpec

__all__ = [
    "FEATURES",
    "PER_PROPOSAL",
    "Batch",
    "BoxDeltaRecord",
    "DenseRecord",
    "DetectorSpec",
    "DistributionRecord",
    "LevelSpec",
    "QualityRecord",
    "Record",
    "RoIRecord",
    "TowerDeltaRecord",
    "TowerDistributionRecord",
    "TowerQualityRecord",
    "TowerRecord",
    "YOLORecord",
]

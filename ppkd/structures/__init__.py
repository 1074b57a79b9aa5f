"""What passes between the modules: batches, ground truth, records and specs."""

from ppkd.structures.abilities import Abilities, Ability
from ppkd.structures.batch import Batch
from ppkd.structures.entry import NO_STRIDE, Activation, Basis, Coding, Entries, Entry, Kind, LevelSpec, Role
from ppkd.structures.points import Points
from ppkd.structures.ranking import best_scores, scores
from ppkd.structures.record import Record
from ppkd.structures.specs import DetectorSpec

__all__ = [
    "NO_STRIDE",
    "Abilities",
    "Ability",
    "Activation",
    "Basis",
    "Batch",
    "Coding",
    "DetectorSpec",
    "Entries",
    "Entry",
    "Kind",
    "LevelSpec",
    "Points",
    "Record",
    "Role",
    "best_scores",
    "scores",
]

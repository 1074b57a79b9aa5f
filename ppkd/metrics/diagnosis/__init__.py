"""What lies behind the figures of an evaluation: errors, thresholds, confusions, how each image went."""

from ppkd.metrics.diagnosis.boxes import Evaluated
from ppkd.metrics.diagnosis.confusion import confusion
from ppkd.metrics.diagnosis.errors import ErrorCost, Kind, error_costs
from ppkd.metrics.diagnosis.images import Tally, tally
from ppkd.metrics.diagnosis.matching import Matches, matches
from ppkd.metrics.diagnosis.precision import average_precision, recall_precision
from ppkd.metrics.diagnosis.thresholds import Thresholds, thresholds

__all__ = [
    "ErrorCost",
    "Evaluated",
    "Kind",
    "Matches",
    "Tally",
    "Thresholds",
    "average_precision",
    "confusion",
    "error_costs",
    "matches",
    "recall_precision",
    "tally",
    "thresholds",
]

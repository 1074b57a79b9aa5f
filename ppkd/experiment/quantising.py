"""A student that trains with the numbers of its INT8 model."""

from __future__ import annotations

from typing import Any

from ppkd.data import Loader
from ppkd.experiment.experiment import Experiment
from ppkd.models.quantised.model import QuantisedModel
from ppkd.models.quantised.student import measure, quantise
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

logger = get_logger(__name__)


def quantise_student(experiment: Experiment, model: Any, loader: Loader) -> Any:
    """``model``, whose student computes with 8 bits from now on where the slim file says so.

    Its ranges are measured on the first batches of ``loader``; those of a resumed run are in its checkpoint. Raises
    :class:`ConfigError` for ``--to_static``.
    """
    settings = None if experiment.slim is None else experiment.slim.quantisation
    if settings is None:
        return model
    if experiment.options.to_static:
        raise ConfigError("--to_static: a student that is quantised in training does not run as a static graph")
    if not experiment.starts_trained and experiment.options.resume is None:
        logger.warning("The student that is quantised has random weights: name trained ones with -o pretrain_weights=")
    student = model.deployable()
    ranges = quantise(student, rate=settings.moving_rate)
    if experiment.options.resume is None:
        batches = [loader.peek(0, number) for number in range(min(settings.batches, len(loader)))]
        measure(student, ranges, batches)
    logger.info("Quantised: %d ranges of activations, each weight in every channel by its largest number", len(ranges))
    return QuantisedModel(model, ranges)

"""The detector that a configuration and its weights describe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppkd.config import Config, runtime
from ppkd.config.options import FROM_WEIGHTS
from ppkd.models import build_detector
from ppkd.models.pruning.shrink import resize, shapes_in
from ppkd.models.weights import load_weights
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector


def trained_detector(cfg: Config) -> Detector:
    """The detector of ``cfg`` with its ``weights``, in evaluation mode.

    ``cfg`` is taken as checked. With distillation that is the plain student: every saved file is one. Raises
    :class:`ConfigError` if the configuration names no weights, and :class:`WeightsError` if they do not fit.
    """
    weights = runtime(cfg).weights
    if not weights:
        raise ConfigError(f"{cfg.path}: which weights? Name a file or URL with -o weights=...")
    detector = build_detector(cfg)
    if cfg.get("pruned") == FROM_WEIGHTS:
        resize(detector, shapes_in(weights, detector))
    get_logger(__name__).info("%s", load_weights(detector, weights))
    detector.eval()
    return detector

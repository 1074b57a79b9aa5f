"""Detection with a trained detector as it is: what ``tools/infer.py`` and ``tools/export_model.py`` do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.config import Config, check, runtime
from ppkd.deploy.engine import EagerEngine
from ppkd.deploy.infer_cfg import InferConfig
from ppkd.deploy.labels import class_labels
from ppkd.deploy.pictures import detect_pictures
from ppkd.deploy.pipeline import Pipeline
from ppkd.deploy.preprocess import Preprocess
from ppkd.deploy.results import Results
from ppkd.models import build_detector
from ppkd.models.weights import load_weights
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector

_log = get_logger("ppkd.deploy")


def trained_detector(cfg: Config) -> Detector:
    """The detector of ``cfg`` with its ``weights``, in evaluation mode.

    With distillation that is the plain student: every saved file is one. Raises :class:`ConfigError` if the
    configuration names no weights, and :class:`WeightsError` if they do not fit.
    """
    check(cfg)
    weights = runtime(cfg).weights
    if not weights:
        raise ConfigError(f"{cfg.path}: which weights? Name a file or URL with -o weights=...")
    detector = build_detector(cfg)
    _log.info("%s", load_weights(detector, weights))
    detector.eval()
    return detector


def infer(
    cfg: Config,
    pictures: Sequence[Path],
    output_dir: Path | str = "output",
    *,
    draw_threshold: float = 0.5,
    save_results: bool = False,
    visualize: bool = True,
    vdl_log_dir: str | None = None,
) -> None:
    """Detects with ``cfg``'s detector and ``weights``, and writes drawn pictures to ``output_dir`` under their names.

    ``save_results`` writes all detections to ``output_dir/bbox.json``; ``vdl_log_dir`` logs the pictures for VisualDL.
    A picture that cannot be read is skipped, and :class:`DataError` raised after the others are done.
    """
    labels = class_labels(cfg)
    config = InferConfig.of(cfg, labels.names, labels.category_ids)
    pipeline = Pipeline(EagerEngine(trained_detector(cfg)), Preprocess(config, cfg.where("TestReader")))
    results = Results(
        output_dir,
        labels.names,
        labels.category_ids,
        threshold=draw_threshold,
        save_images=visualize,
        announce=lambda path: _log.info("Detection bbox results save in %s", path),
        show=_visual_dl(vdl_log_dir) if vdl_log_dir else None,
    )
    try:
        detect_pictures(pipeline, pictures, results.add, batch_size=cfg.at("TestReader.batch_size", 1))
    finally:
        if save_results:
            _log.info("all detections are in %s", results.write_json())

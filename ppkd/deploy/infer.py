"""Detection with a trained detector as it is: what ``ppkd infer`` does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ppkd.config import Config
from ppkd.deploy.open_model import open_detector
from ppkd.deploy.pictures import detect_pictures
from ppkd.deploy.pipeline import Found
from ppkd.deploy.results import Results
from ppkd.deploy.slices import SlicedPipeline, Slicing
from ppkd.utils.atomic import output_folder
from ppkd.utils.logger import get_logger
from ppkd.utils.visualdl import open_writer

_log = get_logger("ppkd.deploy")


def infer(
    cfg: Config,
    pictures: Sequence[Path],
    output_dir: Path | str = "output/infer",
    *,
    draw_threshold: float = 0.5,
    save_results: bool = False,
    visualize: bool = True,
    vdl_log_dir: str | None = None,
    slicing: Slicing | None = None,
) -> None:
    """Detects with ``cfg``'s detector and ``weights``, and writes drawn pictures to ``output_dir`` under their names.

    ``save_results`` writes all detections to ``output_dir/bbox.json``; ``vdl_log_dir`` logs the pictures for VisualDL.
    With ``slicing``, pictures are cut, and ``TestReader.batch_size`` is the number of slices that are computed at once.
    A picture that cannot be read is skipped, and :class:`DataError` raised after the others are done; an
    ``output_dir`` that cannot be written into raises :class:`ConfigError` at once.
    """
    if save_results:
        output_folder(output_dir)
    pipeline, labels = open_detector(cfg)
    batch_size = cfg.at("TestReader.batch_size", 1)
    if slicing is not None:
        pipeline = SlicedPipeline(pipeline, slicing, batch_size)
    results = Results(
        output_dir,
        labels.names,
        labels.category_ids,
        threshold=draw_threshold,
        save_images=visualize,
        announce=lambda path: _log.info("Detection bbox results save in %s", path),
        tell=lambda line: _log.info("%s", line),
    )
    results.check_inputs(pictures)
    writer = open_writer(Path(vdl_log_dir)) if vdl_log_dir else None

    def handle(index: int, file: Path, picture: NDArray[np.uint8], found: Found) -> None:
        drawn = results.add(index, file, picture, found)
        if writer is not None:
            writer.add_image(f"original/{file.name}", picture, index)
            writer.add_image(f"bbox/{file.name}", picture if drawn is None else drawn, index)

    try:
        detect_pictures(pipeline, pictures, handle, batch_size=batch_size)
    finally:
        if writer is not None:
            writer.close()
        _log.info("%s", results.tally.total("--draw_threshold"))
        if save_results:
            _log.info("all detections are in %s", results.write_json())

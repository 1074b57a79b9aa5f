"""The file that is shipped, made of what paddle2onnx writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import onnx

from ppkd.deploy.description import Description
from ppkd.deploy.onnx_file import NAME
from ppkd.deploy.to_onnx.graph import correct_epsilons, correct_pooling, describe, drop_unused, name_outputs
from ppkd.deploy.to_onnx.suppress import append_suppression, check_suppression
from ppkd.utils.errors import WeightsError

if TYPE_CHECKING:
    from ppkd.models.detectors.detector import Detector

PLAIN = "plain.onnx"
"""The same model without suppression, for the check."""


def assemble(converted: Path, detector: Detector, description: Description, names: Sequence[str], folder: Path) -> None:
    """Write ``model.onnx``, and ``plain.onnx`` whose outputs have ``names``, into ``folder``.

    Raises :class:`ConfigError` for a suppression that ONNX lacks and :class:`WeightsError` for an invalid model.
    """
    inside = description.suppressed and description.outputs == "detections"
    if inside:
        check_suppression(description.nms)
    model = onnx.load(str(converted))
    correct_epsilons(model.graph, detector)
    correct_pooling(model, detector)
    name_outputs(model.graph, names)
    drop_unused(model.graph)
    onnx.save(model, str(folder / PLAIN))
    if inside:
        append_suppression(model.graph, description.nms)
    model.producer_name = "ppkd"
    describe(model, description.metadata())
    try:
        onnx.checker.check_model(model, full_check=False)
    except onnx.checker.ValidationError as error:
        raise WeightsError(f"the converted model is no valid ONNX: {str(error).splitlines()[0]}") from error
    onnx.save(model, str(folder / NAME))

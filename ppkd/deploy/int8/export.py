"""Export of a trained detector to one ONNX file with 8-bit layers, beside its float form in figures."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import paddle

from ppkd.benchmark.accuracy import average_precision
from ppkd.config import check, trains_int8
from ppkd.config.value import OVERRIDE, freeze
from ppkd.deploy.description import UNDECODED, Description, Outputs
from ppkd.deploy.int8.calibration import Inputs, calibration_batches
from ppkd.deploy.int8.graph import body, prepare, state_corners
from ppkd.deploy.int8.quantise import Quantiser
from ppkd.deploy.int8.sensitive import Choice, choose
from ppkd.deploy.int8.settings import Quantisation, quantisation
from ppkd.deploy.int8.trained import Trained, write_trained
from ppkd.deploy.onnx_engines import OnnxRuntimeEngine
from ppkd.deploy.onnx_file import NAME, read_metadata
from ppkd.deploy.onnx_predictor import OnnxPredictor
from ppkd.deploy.standalone import write_standalone
from ppkd.deploy.to_onnx.export import OPSET, export_onnx
from ppkd.deploy.to_onnx.graph import describe
from ppkd.models.layers.rep_vgg import merged
from ppkd.models.quantised.settings import TrainedQuantisation
from ppkd.models.trained import trained_detector
from ppkd.utils.atomic import atomic_open, output_folder
from ppkd.utils.errors import WeightsError
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.config import Config
    from ppkd.models.detectors.detector import Detector

SUFFIX = "_int8"
"""Behind the configuration's name, so that the float export is not replaced."""
_log = get_logger("ppkd.deploy")


def export_int8(
    model: Detector,
    cfg: Config,
    output_dir: Path | str,
    settings: Quantisation,
    *,
    trained: Trained | None = None,
    outputs: Outputs | None = None,
    opset: int = OPSET,
    picture: Path | None = None,
) -> Path:
    """Writes ``{output_dir}/{cfg.name}_int8/model.onnx`` and returns it.

    The float form is made and checked by :func:`export_onnx`, quantised on ``TrainDataset`` or with the ranges that
    were ``trained``, and, where ``settings.evaluate`` says so and the model gives boxes, both are evaluated on
    ``EvalDataset``; the figures are logged. Nothing is written before that: a failed export leaves an older file whole.
    Raises what :func:`export_onnx` raises, :class:`DataError` naming a picture that cannot be read, and
    :class:`WeightsError` for a quantised model that is invalid or gives numbers that are not finite.
    """
    target = output_folder(Path(output_dir) / f"{cfg.name}{SUFFIX}") / NAME
    with tempfile.TemporaryDirectory(prefix="ppkd-int8-") as folder:
        work = Path(folder)
        original = export_onnx(model, cfg, work / "float", outputs=outputs, opset=opset, picture=picture)
        description = Description.of(read_metadata(original)[0], str(original))
        batches = calibration_batches(cfg, description, settings)
        made = work / NAME
        if trained is None:
            _report(quantise(original, made, batches, settings))
        else:
            nodes = write_trained(prepare(original, work / "prepared.onnx"), trained, made)
            _log.info("%d convolutions are quantised with the ranges that were trained", len(nodes))
        _complete(original, made, description, batches[0])
        if settings.evaluate and description.outputs not in UNDECODED:
            for name, file in {"float32": original, "int8": made}.items():
                _log.info("%s on EvalDataset: %s", name, _shown(average_precision(OnnxPredictor(file), cfg)))
        with atomic_open(target) as opened:
            opened.write(made.read_bytes())
        write_standalone(target.parent)
    return target


def quantise(original: Path, target: Path, batches: list[Inputs], settings: Quantisation) -> Choice:
    """Write the form of ``original`` that is quantised on ``batches`` to ``target``; says which layers are in float."""
    with tempfile.TemporaryDirectory(prefix="ppkd-int8-") as folder:
        work = Path(folder)
        prepared = work / "prepared.onnx"
        part = body(prepare(original, prepared))
        quantiser = Quantiser(prepared, part, batches=batches, settings=settings, work=work)
        choice = choose(part.candidates, quantiser.difference, bound=settings.bound, most=settings.most_float)
        quantiser.write(choice.quantised, target)
    return choice


def _complete(original: Path, target: Path, description: Description, pictures: Inputs) -> None:
    """Let the quantised form of ``original`` say what it is, and check that it computes ``pictures``."""
    made = onnx.load(str(target))
    made.producer_name = "ppkd"
    state_corners(made)
    describe(made, replace(description, precision="int8").metadata())
    try:
        onnx.checker.check_model(made)
    except onnx.checker.ValidationError as error:
        raise WeightsError(f"the quantised model is no valid ONNX: {str(error).splitlines()[0]}") from error
    onnx.save(made, str(target))
    _check_runs(original, target, pictures)


def _check_runs(original: Path, made: Path, pictures: Inputs) -> None:
    """Raise :class:`WeightsError` unless both files compute ``pictures``, to finite numbers of as many dimensions."""
    image = pictures["image"]
    size = np.tile(np.array(image.shape[2:], np.float32), (len(image), 1))
    batch = {**pictures, "im_shape": size, "scale_factor": np.ones_like(size)}
    expected, found = (OnnxRuntimeEngine(file, device="CPU", cpu_threads=1)(batch) for file in (original, made))
    for one, two in zip(expected, found, strict=True):
        if one.ndim != two.ndim or (np.isfinite(one).all() and not np.isfinite(two).all()):
            raise WeightsError("the quantised model gives other numbers than boxes and scores; nothing was written")


def _report(choice: Choice) -> None:
    _log.info(
        "%d layers are quantised, %d stay in float (%s): the heads differ from float by %.3f of their standard "
        "deviation, by %.3f with all of them quantised",
        len(choice.quantised),
        len(choice.left),
        ", ".join(choice.left) or "none",
        choice.after,
        choice.before,
    )


def _shown(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in figures.items())


def export_trained_int8(
    cfg: Config, slim: Config, output_dir: Path | str, *, outputs: Outputs | None, opset: int, picture: Path | None
) -> Path:
    """:func:`export_int8` as ``slim`` says of the detector of ``cfg`` with its ``weights``, on the CPU.

    The weights that a file of quantisation after training names are taken unless an override names others, as in
    PaddleDetection.
    """
    after_training = not trains_int8(slim)
    if after_training:
        settings = quantisation(slim, cfg.at("EvalReader.batch_size", None) or 1)
    else:
        settings = Quantisation(batches=1, evaluate=TrainedQuantisation.of(slim).evaluate)
    if after_training and slim.get("weights") is not None and cfg.mark("weights") != OVERRIDE:
        cfg = cfg.merge(freeze({"weights": slim["weights"]}))
    check(cfg)
    paddle.set_device("cpu")
    detector = trained_detector(cfg)
    trained = None
    if not after_training:
        # The names of the parameters in the file are those of this very detector, branches merged.
        detector = merged(detector)
        trained = Trained.of(detector, str(cfg["weights"]))
    file = export_int8(
        detector, cfg, output_dir, settings, trained=trained, outputs=outputs, opset=opset, picture=picture
    )
    _log.info("exported to %s", file)
    return file

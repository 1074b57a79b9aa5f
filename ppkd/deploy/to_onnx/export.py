"""Export of a trained detector to one ONNX file, checked against the detector."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paddle

from ppkd.config import check, runtime
from ppkd.deploy.description import UNDECODED, Description, Outputs
from ppkd.deploy.export import Deployed, Undecoded, refuse_sides, save_program, shipped_form, suppression
from ppkd.deploy.infer_cfg import InferConfig, image_shape
from ppkd.deploy.labels import class_labels
from ppkd.deploy.onnx_file import NAME
from ppkd.deploy.standalone import write_standalone
from ppkd.deploy.to_onnx.check import Check, check_picture
from ppkd.deploy.to_onnx.convert import check_opset, check_packages, convert
from ppkd.deploy.to_onnx.proposals import OneImageProposals
from ppkd.models.detectors.faster_rcnn import FasterRCNN
from ppkd.models.modes import evaluation_mode
from ppkd.models.trained import trained_detector
from ppkd.utils.atomic import atomic_open, output_folder
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.config import Config
    from ppkd.models.detectors.detector import Detector

OPSET = 16
"""The first with both ways to pool at proposals; TensorRT 8.5, OpenVINO 2022 and onnxruntime 1.12 read it."""


def export_onnx(
    model: Detector,
    cfg: Config,
    output_dir: Path | str,
    *,
    outputs: Outputs | None = None,
    opset: int = OPSET,
    picture: Path | None = None,
) -> Path:
    """Writes ``{output_dir}/{cfg.name}/model.onnx`` and returns it; :class:`Description` says what it holds.

    Beside it are ``infer.py`` and a folder of its modules, which run the model without ppkd and Paddle.

    ``outputs`` is by default what ``export.nms``, ``export.post_process`` and ``export.benchmark`` say. Inputs are
    those of :func:`export_model`; a Faster R-CNN takes one image at a time. ``picture``, or a drawn one, is computed by
    the detector and by onnxruntime; the largest difference is logged, and raises :class:`WeightsError` above ``BOUND``.
    Nothing is written before that: a failed export leaves an older file whole. Raises :class:`ConfigError` for packages
    that are missing, another ``opset``, and suppression that ONNX lacks.
    """
    check_packages()
    check_opset(opset)
    from ppkd.deploy.to_onnx.assemble import assemble

    detector = model.deployable()
    description = describe(detector, cfg, outputs or _wanted(cfg))
    refuse_sides(detector, cfg)
    target = output_folder(Path(output_dir) / cfg.name) / NAME
    with tempfile.TemporaryDirectory(prefix="ppkd-onnx-") as folder, evaluation_mode(detector):
        work = Path(folder)
        comparison = Check(detector, description, check_picture(picture))
        shipped = shipped_form(detector, fuse=runtime(cfg).export.fuse_conv_bn)
        shape = (description.batch, *image_shape(cfg)[1:])
        with suppression(shipped, cfg, not description.suppressed), convertible(shipped):
            save_program(_layer(shipped, description.outputs), shape, work / "model")
        convert(work / "model.json", work / "converted.onnx", opset)
        assemble(work / "converted.onnx", shipped, description, comparison.names, work)
        difference = comparison(work)
        with atomic_open(target) as file:
            file.write((work / NAME).read_bytes())
        write_standalone(target.parent)
    get_logger(__name__).info("largest difference of %s to the detector: %.1e of the largest number", NAME, difference)
    return target


def describe(detector: Detector, cfg: Config, outputs: Outputs) -> Description:
    """What the exported file will say of itself; raises :class:`ConfigError` for detectors of masks."""
    if detector.reads_masks and outputs != "raw":
        raise ConfigError(
            f"{cfg.where('architecture')}: ONNX files hold no masks: leave out --format onnx, which exports "
            f"{type(detector).__name__} to Paddle Inference, or write --nms none for the raw numbers of its boxes"
        )
    labels = class_labels(cfg, detector.class_names)
    config = InferConfig.of(cfg, labels.names, labels.category_ids)
    post_process = detector.post_process
    if post_process is None and outputs == "boxes":
        raise ConfigError(
            f"--nms outside: {type(detector).__name__} has no NMS; leave the flag out, or write --nms none"
        )
    nms: Mapping[str, Any] = {}
    if post_process is not None:
        nms = {"type": type(post_process.nms).__name__, **vars(post_process.nms)}
    return Description(
        name=cfg.name,
        arch=config.arch,
        preprocess=config.preprocess,
        label_list=config.label_list,
        category_ids=config.category_ids,
        draw_threshold=config.draw_threshold,
        use_dynamic_shape=config.use_dynamic_shape,
        batch=1 if isinstance(detector, FasterRCNN) else image_shape(cfg)[0],
        outputs=outputs,
        nms=nms,
    )


def _layer(detector: Detector, outputs: Outputs) -> Undecoded | Deployed:
    return Undecoded(detector, neck=outputs == "record") if outputs in UNDECODED else Deployed(detector)


def _wanted(cfg: Config) -> Outputs:
    options = runtime(cfg).export
    if options.benchmark or not options.post_process:
        return "raw"
    return "detections" if options.nms else "boxes"


@contextmanager
def convertible(detector: Detector) -> Iterator[None]:
    """Inside, the detector's proposals are made by operators that paddle2onnx knows."""
    if not isinstance(detector, FasterRCNN):
        yield
        return
    head = detector.rpn_head
    generator, head.test_proposal = head.test_proposal, OneImageProposals(head.test_proposal)
    try:
        yield
    finally:
        head.test_proposal = generator


def export_trained_onnx(
    cfg: Config, output_dir: Path | str, *, outputs: Outputs | None, opset: int, picture: Path | None
) -> Path:
    """:func:`export_onnx` of the detector of ``cfg`` with its ``weights``, on the CPU; logs where to."""
    check(cfg)
    check_packages()
    check_opset(opset)
    paddle.set_device("cpu")
    file = export_onnx(trained_detector(cfg), cfg, output_dir, outputs=outputs, opset=opset, picture=picture)
    get_logger("ppkd.deploy").info("exported to %s", file)
    return file

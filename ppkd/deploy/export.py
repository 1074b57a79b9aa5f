"""Export of a trained detector to Paddle Inference."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paddle
from paddle import Tensor, nn
from paddle.static import InputSpec

from ppkd.config import check, runtime
from ppkd.deploy.fuse import fused
from ppkd.deploy.infer_cfg import FILE_NAME, InferConfig, image_shape
from ppkd.deploy.labels import class_labels
from ppkd.models.layers.rep_vgg import merged
from ppkd.models.modes import evaluation_mode
from ppkd.models.postprocess.suppression import Suppression
from ppkd.models.trained import trained_detector
from ppkd.structures import Record
from ppkd.utils.atomic import output_folder
from ppkd.utils.errors import ConfigError, WeightsError
from ppkd.utils.logger import get_logger
from ppkd.utils.serialization import digest

if TYPE_CHECKING:
    from ppkd.config import Config
    from ppkd.models.detectors.detector import Detector

MODEL_FILES = ("model.pdiparams", "model.json")
Shape = tuple[int | None, int, int | None, int | None]
"""N, C, H, W, None where a size stays open."""
_TRACE_SIZE = 64


class Deployed(nn.Layer):
    """A detector as a function of three tensors, for tracing."""

    def __init__(self, model: Detector) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor, im_shape: Tensor, scale_factor: Tensor) -> tuple[Tensor, ...]:
        """What ``predict`` gives."""
        result = self.model.predict({"image": image, "im_shape": im_shape, "scale_factor": scale_factor})
        if "mask" in result:
            return result["bbox"], result["bbox_num"], result["mask"]
        return result["bbox"], result["bbox_num"]


class Unsuppressed(Suppression):
    """Passes decoded boxes and scores on as they are."""

    def __call__(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """``boxes`` and ``scores``."""
        return boxes, scores


class Undecoded(nn.Layer):
    """A detector without what follows its heads, as a function of the image alone; with its ``neck`` if asked."""

    def __init__(self, model: Detector, *, neck: bool = False) -> None:
        super().__init__()
        self.model = model
        self.neck = neck

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """The record's entries, entry by entry, level by level."""
        record = self.model.extract({"image": image})
        return tuple(raw_entries(record, neck=self.neck).values())


def raw_entries(record: Record, *, neck: bool = False) -> dict[str, Tensor]:
    """The tensors of ``record``: ``name.level`` of a grid, the stage counted alike of rows; without the ``neck``.

    A tensor that two entries share (PP-YOLOE's heads both begin at the neck) has the name of the first: a program
    returns it once.
    """
    names = [name for name in record.tensors if neck or name != "neck"]
    found = {f"{name}.{i}": tensor for name in names for i, tensor in enumerate(record[name])}
    first = {id(tensor): name for name, tensor in reversed(found.items())}
    return {name: tensor for name, tensor in found.items() if first[id(tensor)] == name}


def export_model(model: Detector, cfg: Config, output_dir: Path | str) -> Path:
    """Writes ``{output_dir}/{cfg.name}/`` with model.json, model.pdiparams and infer_cfg.yml; returns the folder.

    The outputs are ``bbox`` (M, 6), ``bbox_num`` (N,) and, of a detector of masks, ``mask`` uint8 (M, H, W). Without
    ``export.nms`` they are decoded boxes [N, P, 4] and scores [N, C, P], which a detector of masks does not give;
    without ``export.post_process``, or with ``export.benchmark``, the record's raw entries, and ``image`` is the only
    input.
    Inputs are ``image`` float32 [N, 3, H, W], ``im_shape`` and ``scale_factor`` float32 [N, 2]; sizes are dynamic
    unless ``TestReader.inputs_def.image_shape`` fixes them. A model under distillation is exported as its plain
    student. The files are complete before the first one is moved to the folder: a failed export changes no older one.
    ``model`` keeps its weights and the mode of every layer. Raises :class:`DataError` for a fixed size that the
    detector's strides do not divide, :class:`ConfigError` or :class:`WeightsError` for a folder that cannot be written.
    """
    options = runtime(cfg).export
    labels = class_labels(cfg, model.deployable().class_names)
    description = InferConfig.of(cfg, labels.names, labels.category_ids).at_one_size()
    detector = model.deployable()
    refuse_sides(detector, cfg)
    target = Path(output_dir) / cfg.name
    output_folder(target)
    work = Path(tempfile.mkdtemp(prefix=".export-", dir=target))
    try:
        with evaluation_mode(detector):
            shipped = shipped_form(detector, fuse=options.fuse_conv_bn)
            with suppression(shipped, cfg, options.nms):
                raw = options.benchmark or not options.post_process
                layer = Undecoded(shipped) if raw else Deployed(shipped)
                save_program(layer, image_shape(cfg), work / "model")
        checksums = {name: digest(work / name) for name in MODEL_FILES}
        replace(description, checksums=checksums).write(work / FILE_NAME)
        for name in (*MODEL_FILES, FILE_NAME):
            (work / name).replace(target / name)
    except OSError as error:
        raise WeightsError(f"cannot write the model into {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def refuse_sides(detector: Detector, cfg: Config) -> None:
    """Run the detector once at a fixed size, so that its own error is raised and not Paddle's of tracing."""
    *_, height, width = image_shape(cfg)
    if height and width:
        with evaluation_mode(detector), paddle.no_grad():
            detector.features({"image": paddle.zeros([1, 3, height, width])})


def shipped_form(detector: Detector, *, fuse: bool) -> Detector:
    """``detector`` with its branches merged and, with ``fuse``, its BatchNorms folded; a copy where that changes it."""
    shipped = merged(detector)
    return fused(shipped, _trace_batch()) if fuse else shipped


@contextmanager
def suppression(detector: Detector, cfg: Config, wanted: bool) -> Iterator[None]:
    """Inside, unless ``wanted``, the detector's ``post_process`` passes decoded boxes and scores on as they are."""
    if wanted:
        yield
        return
    post_process = detector.post_process
    if post_process is None:
        raise ConfigError(f"{cfg.where('export.nms')}: export.nms false: {type(detector).__name__} has no separate NMS")
    if detector.reads_masks:
        raise ConfigError(
            f"{cfg.where('export.nms')}: export.nms false: {type(detector).__name__} has masks of what its NMS leaves"
        )
    nms, post_process.nms = post_process.nms, Unsuppressed()
    try:
        yield
    finally:
        post_process.nms = nms


def save_program(layer: Undecoded | Deployed, shape: Shape, path: Path) -> None:
    """Write ``path``.json and .pdiparams of ``layer`` for an input of ``shape``."""
    specs = [InputSpec(list(shape), "float32", name="image")]
    if isinstance(layer, Deployed):
        specs += [InputSpec([shape[0], 2], "float32", name=name) for name in ("im_shape", "scale_factor")]
    layer.eval()
    paddle.jit.save(layer, str(path), input_spec=specs, skip_prune_program=True)


def _trace_batch() -> dict[str, Any]:
    """One blank picture, to record in which order the layers run."""
    size = paddle.full([1, 2], _TRACE_SIZE, dtype="float32")
    return {
        "image": paddle.zeros([1, 3, _TRACE_SIZE, _TRACE_SIZE]),
        "im_shape": size,
        "scale_factor": paddle.ones([1, 2]),
    }


def export_trained(cfg: Config, output_dir: Path | str) -> Path:
    """Exports the detector of ``cfg`` with its ``weights``, on the CPU, and logs where to; returns the folder."""
    check(cfg)
    paddle.set_device("cpu")
    folder = export_model(trained_detector(cfg), cfg, output_dir)
    get_logger("ppkd.deploy").info("exported to %s", folder)
    return folder

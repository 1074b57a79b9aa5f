"""``infer_cfg.yml``: the preprocessing and the classes of an exported model, in PaddleDetection's form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ppkd.config import named, runtime
from ppkd.config.parse import parse
from ppkd.config.value import thaw
from ppkd.utils.errors import ConfigError, WeightsError
from ppkd.utils.files import read_text
from ppkd.utils.logger import get_logger
from ppkd.utils.serialization import digest

if TYPE_CHECKING:
    from ppkd.config import Config

FILE_NAME = "infer_cfg.yml"
_log = get_logger("ppkd.deploy")
Step = dict[str, Any]

PICODET, PICODET_HEAD = "PicoDet", "PicoHeadV2"
# PaddleDetection's table, searched in this order: "PPYOLOE" contains "YOLO".
_VIEWS = "MultiscaleTestResize"
_MIN_SUBGRAPH = {"PPYOLOE": 3, "YOLO": 3, PICODET: 3, "GFL": 16, "RCNN": 40, "RetinaNet": 40}
# PaddleDetection writes these in place of the head's own, to be quick; the program's suppression keeps its own.
_PICODET_NMS = {"score_threshold": 0.3, "nms_threshold": 0.5}
_RESIZE = {"interp": 1, "keep_ratio": True}
_NORMALIZE = {"is_scale": True, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@dataclass(frozen=True)
class InferConfig:
    """Contents of ``infer_cfg.yml``. ``preprocess`` steps are ``{type: name, **settings}`` in order, after decoding.

    ``category_ids`` are the data set's ids of the classes in ``label_list``, for results in COCO's form. ``nms`` and
    ``fpn_stride`` are PicoDet's, for programs that decode its raw outputs. ``mask`` says that there are masks.
    ``checksums`` are the SHA-256 of the export's other files by their names; PaddleDetection writes none.
    """

    arch: str
    metric: str
    preprocess: tuple[Step, ...]
    label_list: tuple[str, ...]
    category_ids: tuple[int, ...]
    use_dynamic_shape: bool = True
    draw_threshold: float = 0.5
    min_subgraph_size: int = 3
    nms: Mapping[str, Any] = field(default_factory=dict)
    fpn_stride: tuple[int, ...] = ()
    mask: bool = False
    checksums: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, cfg: Config, class_names: Sequence[str], category_ids: Sequence[int]) -> InferConfig:
        """What ``cfg`` says: its ``architecture``, ``metric``, ``TestReader``, and PicoDet's head."""
        arch, size = _family(cfg["architecture"])
        export = runtime(cfg).export
        decoded = export.post_process and not export.benchmark
        return cls(
            # PaddleDetection's script decodes what a PicoDet gives; a program that has done so itself is a GFL to it.
            arch="GFL" if arch == PICODET and decoded else arch,
            metric=runtime(cfg).metric,
            preprocess=preprocess_steps(cfg),
            label_list=tuple(class_names),
            category_ids=tuple(category_ids),
            use_dynamic_shape=image_shape(cfg)[2] is None,
            min_subgraph_size=size,
            mask=cfg.at(f"{cfg['architecture']}.mask_head", None) is not None,
            **(_picodet_head(cfg) if arch == PICODET else {}),
        )

    @classmethod
    def read(cls, path: Path) -> InferConfig:
        """Reads a file written by ppkd or PaddleDetection; raises :class:`ConfigError` naming file and key."""
        try:
            found = parse(read_text(path), str(path))
        except OSError as error:
            raise ConfigError(
                f"{path}: {error.strerror or error}; did `ppkd export` write the folder of the model?"
            ) from error
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: no valid yaml: {error}") from error
        take = _Taker(path, thaw(found) if isinstance(found, Mapping) else {})
        arch, metric = take.value("arch", str), take.value("metric", str)
        steps = take.listed("Preprocess", object)
        labels = tuple(map(str, take.listed("label_list", str | int | float)))
        ids = take.listed("category_ids", int, list(range(len(labels))))
        if len(ids) != len(labels):
            raise ConfigError(f"{path}: {len(ids)} category_ids for {len(labels)} names of label_list; export it again")
        return cls(
            arch=arch,
            metric=metric,
            preprocess=tuple(steps),
            label_list=labels,
            category_ids=tuple(ids),
            use_dynamic_shape=take.value("use_dynamic_shape", bool | int, True),
            draw_threshold=take.value("draw_threshold", float | int, 0.5),
            min_subgraph_size=take.value("min_subgraph_size", int, 3),
            nms=take.value("NMS", dict, {}),
            fpn_stride=tuple(take.listed("fpn_stride", int, [])),
            mask=take.value("mask", bool, False),
            checksums=take.value("checksums", dict, {}),
        )

    def at_one_size(self) -> InferConfig:
        """The same with the first of several sizes alone, since an exported program is run once for a picture."""
        steps = [_first_size(step) for step in self.preprocess]
        if steps != list(self.preprocess):
            _log.warning("an exported model detects at one size: MultiscaleTestResize becomes Resize to its first one")
        return replace(self, preprocess=tuple(steps))

    def check_files(self, files: Iterable[Path]) -> None:
        """Raise :class:`WeightsError` for a file of the export that is not as it was written.

        Nothing is checked where there are no checksums, as in PaddleDetection's exports.
        """
        known = list(self.checksums.values())
        for file in files if known else ():
            if digest(file) not in known:  # by content: the files may have been renamed together
                raise WeightsError(
                    f"{file}: not the file that was exported, its SHA-256 is another than {FILE_NAME} states; copy or "
                    f"export the model again, or, where you changed it yourself, remove 'checksums' from {FILE_NAME}"
                )

    def write(self, path: Path) -> None:
        """Writes the yaml file with PaddleDetection's keys, in its order."""
        content = {
            "mode": "paddle",
            "draw_threshold": self.draw_threshold,
            "metric": self.metric,
            "use_dynamic_shape": self.use_dynamic_shape,
            "arch": self.arch,
            "min_subgraph_size": self.min_subgraph_size,
            "Preprocess": list(self.preprocess),
            "label_list": list(self.label_list),
            **({"NMS": dict(self.nms)} if self.nms else {}),
            **({"fpn_stride": list(self.fpn_stride)} if self.fpn_stride else {}),
            **({"mask": True} if self.mask else {}),
            "category_ids": list(self.category_ids),
            **({"checksums": dict(self.checksums)} if self.checksums else {}),
        }
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _first_size(step: Step) -> Step:
    """``step``, or the ``Resize`` to its first size."""
    if not isinstance(step, dict) or step.get("type") != _VIEWS:
        return step
    size = {"target_size": step.get("origin_target_size", [800, 1333])}
    return {"type": "Resize", **_RESIZE, **size, **{key: step[key] for key in ("interp",) if key in step}}


class _Taker:
    """Values of a mapping by key and type; raises :class:`ConfigError` naming file, key and type."""

    def __init__(self, path: Path, found: Mapping[str, Any]) -> None:
        self._path, self._found = path, found

    def value(self, key: str, kind: Any, default: Any = None) -> Any:
        value = self._found.get(key, default)
        if not isinstance(value, kind) or value != value:
            name = getattr(kind, "__name__", str(kind))
            raise ConfigError(f"{self._path}: expected a {name} under the key '{key}'; export the model again")
        return value

    def listed(self, key: str, kind: Any, default: Any = None) -> list[Any]:
        values: list[Any] = self.value(key, list, default)
        if not all(isinstance(value, kind) for value in values):
            name = getattr(kind, "__name__", str(kind))
            raise ConfigError(f"{self._path}: expected a list of {name} under the key '{key}'; export the model again")
        return values


def image_shape(cfg: Config) -> tuple[int | None, int, int | None, int | None]:
    """The exported input's N, C, H, W from ``TestReader.inputs_def.image_shape``; None where it stays open.

    ``[3, 640, 640]`` and ``[1, 3, 640, 640]`` are understood, -1 and None mean open. Raises :class:`ConfigError`.
    """
    key = "TestReader.inputs_def.image_shape"
    given = cfg.at(key, None) or (3, None, None)
    sizes = [None if size in (None, -1) else size for size in given]
    if len(sizes) == 3:
        sizes.insert(0, None)
    valid = len(sizes) == 4 and all(size is None or (isinstance(size, int) and size > 0) for size in sizes)
    if not valid or sizes[1] not in (None, 3) or (sizes[2] is None) != (sizes[3] is None):
        raise ConfigError(f"{cfg.where(key)}: {key} is {list(given)}, expected [3, height, width], or -1 for both")
    return sizes[0], 3, sizes[2], sizes[3]


def preprocess_steps(cfg: Config, reader: str = "TestReader") -> tuple[Step, ...]:
    """A reader's transforms after ``Decode`` as ``{type, **settings}``, with ``PadBatch`` as ``PadStride``.

    A fixed ``image_shape`` is the target size of ``TestReader``'s ``Resize``, as in PaddleDetection.
    """
    *_, height, width = image_shape(cfg) if reader == "TestReader" else (None, None)
    steps = []
    for name, settings in _transforms(cfg, f"{reader}.sample_transforms"):
        if name == "Resize":
            settings = {**_RESIZE, **settings, **({"target_size": [height, width]} if height else {})}
        elif name == "NormalizeImage":
            settings = {**_NORMALIZE, **settings}
        if name != "Decode":
            steps.append({"type": name, **settings})
    for name, settings in _transforms(cfg, f"{reader}.batch_transforms"):
        if name == "PadBatch" and settings.get("pad_to_stride", 0) > 0:
            steps.append({"type": "PadStride", "stride": settings["pad_to_stride"]})
    return tuple(steps)


def _transforms(cfg: Config, key: str) -> list[tuple[str, dict[str, Any]]]:
    """Names and settings of a reader's list of ``{Name: {settings}}``."""
    listed = [named(entry, cfg.mark(f"{key}.{index}")) for index, entry in enumerate(cfg.at(key, None) or ())]
    return [(name, settings.to_dict()) for name, settings in listed]


def _picodet_head(cfg: Config) -> dict[str, Any]:
    """``nms`` and ``fpn_stride`` of PicoDet's head, those of them that ``cfg`` sets."""
    head = cfg.at(PICODET_HEAD, None)
    found: dict[str, Any] = thaw(head) if isinstance(head, Mapping) else {}
    nms = found.get("nms")
    return {
        "nms": {**nms, **_PICODET_NMS} if isinstance(nms, dict) else {},
        "fpn_stride": tuple(found.get("fpn_stride", ())),
    }


def _family(architecture: str) -> tuple[str, int]:
    """The deployment name of an architecture and TensorRT's least subgraph, e.g. ``YOLOv3`` -> ``YOLO``, 3."""
    for family, size in _MIN_SUBGRAPH.items():
        if family in architecture:
            return family, size
    return architecture, 3

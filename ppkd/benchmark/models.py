"""The models that are compared: configurations, runs, and exported models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ppkd.config import Config, check, load_config
from ppkd.config.value import Mark, freeze
from ppkd.deploy.engine import model_files
from ppkd.deploy.export import export_model
from ppkd.deploy.infer_cfg import image_shape
from ppkd.deploy.onnx_file import NAME, onnx_file
from ppkd.deploy.onnx_predictor import ENGINES as ONNX_ENGINES
from ppkd.deploy.onnx_predictor import OnnxPredictor
from ppkd.deploy.predictor import Predictor
from ppkd.deploy.to_onnx.export import export_onnx
from ppkd.distill.teacher_run import CONFIG, teacher_block
from ppkd.models.trained import trained_detector
from ppkd.report.complexity import Complexity, complexity
from ppkd.utils.errors import ConfigError, WeightsError

if TYPE_CHECKING:
    from ppkd.deploy.pipeline import Pipeline

PADDLE_ENGINES = ("paddle", "onednn")
ENGINES = (*PADDLE_ENGINES, *ONNX_ENGINES)
_OPEN_SIZE = (640, 640)


@dataclass(frozen=True)
class Candidate:
    """A model with its exported forms.

    Attributes:
        name: what tables call it.
        program: the folder for Paddle Inference, None without one.
        file: the ONNX file, None without one.
        size: parameters and operations, None where only the exported model is known.
        config: the configuration that names its evaluation set, None where only the exported model is known.
    """

    name: str
    program: Path | None
    file: Path | None
    size: Complexity | None = None
    config: Config | None = None

    def engines(self, wanted: Sequence[str]) -> list[str]:
        """Those of the engines ``wanted`` that read one of its forms."""
        return [name for name in wanted if (self.program if name in PADDLE_ENGINES else self.file) is not None]

    def bytes(self, engine: str) -> int:
        """The size of the files that ``engine`` reads."""
        files = [self.file] if engine not in PADDLE_ENGINES else model_files(self.program) if self.program else ()
        return sum(file.stat().st_size for file in files if file is not None)

    def pipeline(self, engine: str, cpu_threads: int) -> Pipeline:
        """The model loaded into ``engine``."""
        if engine in PADDLE_ENGINES:
            assert self.program is not None
            return Predictor(self.program, cpu_threads=cpu_threads, enable_mkldnn=engine == "onednn")
        assert self.file is not None
        return OnnxPredictor(self.file, engine=engine, cpu_threads=cpu_threads)


def candidate(given: str, work: Path, engines: Sequence[str]) -> Candidate:
    """The model that ``given``, ``[NAME=]PATH``, means: an exported one, a run's folder, or a configuration.

    The latter two are exported below ``work`` for the ``engines``. Raises :class:`PPKDError` naming what is wrong.
    """
    name, found, path = given.partition("=")
    if not found:
        name, path = Path(given).stem if Path(given).suffix else Path(given).name, given
    place = Path(path).expanduser()
    if place.suffix == ".onnx" or (place.is_dir() and not (place / CONFIG).is_file()):
        return _exported(name, place)
    cfg = _of_run(place) if place.is_dir() else load_config(path)
    return _export(name, cfg, work, engines)


def _exported(name: str, place: Path) -> Candidate:
    file = onnx_file(place) if place.suffix == ".onnx" or (place / NAME).is_file() else None
    try:
        program = place if model_files(place) else None
    except WeightsError:
        program = None
    if file is None and program is None:
        raise WeightsError(f"{place}: neither an exported model nor a run's folder; see `ppkd export`")
    return Candidate(name, program, file)


def _of_run(folder: Path) -> Config:
    block = teacher_block(folder, Mark(str(folder)))
    return block["config"].merge(freeze({"weights": block["weights"]}))


def _export(name: str, cfg: Config, work: Path, engines: Sequence[str]) -> Candidate:
    check(cfg)
    detector = trained_detector(cfg)
    *_, height, width = image_shape(cfg)
    side = (height, width) if height and width else _OPEN_SIZE
    named = cfg.merge(freeze({"filename": name}))
    wants: dict[bool, Callable[[], Path]] = {
        True: lambda: export_model(detector, named, work / "paddle"),
        False: lambda: export_onnx(detector, named, work / "onnx"),
    }
    made = {
        kind: export() for kind, export in wants.items() if any((each in PADDLE_ENGINES) == kind for each in engines)
    }
    return Candidate(name, made.get(True), made.get(False), complexity(detector, *side), cfg)


def check_names(candidates: Sequence[Candidate]) -> None:
    """Raise :class:`ConfigError` for two models of one name."""
    names = [each.name for each in candidates]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"two models are called {name}: write NAME=PATH for one of them")

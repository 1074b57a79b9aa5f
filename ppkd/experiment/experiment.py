"""A detector's configuration, a slim file and options as one parsed value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from ppkd.config import TRAINED, Config, Runtime, check, distils, prunes, require_slim, runtime, trains_int8
from ppkd.config.value import OVERRIDE, LocatedError, Mark, freeze
from ppkd.data import DetectionDataset, Loader, build_loader
from ppkd.data.reader import BuiltReader, build_reader
from ppkd.data.repeated import check_repeatable
from ppkd.distill.slim import check_slim, repeated_views
from ppkd.engine.optim import OptimizerBuilder, build_optimizer
from ppkd.engine.schedules import LearningRate, build_learning_rate
from ppkd.experiment.options import DEFAULTS, TrainOptions
from ppkd.models.pruning.settings import PruneSettings
from ppkd.models.pruning.shrink import Shapes
from ppkd.models.quantised.settings import BLOCK as QAT
from ppkd.models.quantised.settings import TrainedQuantisation
from ppkd.utils.errors import ConfigError, nearest

NAME, PRETRAIN = "filename", "pretrain_weights"
OF_PRUNING = ("slim", "Pruner", PRETRAIN)
ENABLE_CE, FROM_FILES, FROM_RUN = Mark("--enable_ce"), Mark("the names of the files"), Mark("the run's folder")
PRUNED = Mark("the pruning at the start of the run")


@dataclass(frozen=True)
class SlimSettings:
    """What of a slim file concerns the run: its models and losses are built by :mod:`ppkd.distill`.

    Attributes:
        config: the file.
        distils: whether there are teachers and losses; else the student is pruned or quantised alone.
        pruning: what of the student is pruned before it trains, if anything.
        quantisation: how the student trains with 8-bit numbers, if it does.
        inherits: whether the student starts with weights of the teacher.
        unlabelled: whether there is an ``UnlabelledDataset``.
        views: how many views of every image there are, where a teacher's answers are recorded.
        unlabelled_batch_size: images of it in every batch; as many as labelled ones if not given.
    """

    config: Config
    distils: bool
    pruning: PruneSettings | None
    quantisation: TrainedQuantisation | None
    inherits: bool
    unlabelled: bool
    unlabelled_batch_size: int | None
    views: int | None


@dataclass(frozen=True)
class Experiment:
    """What is to be trained and how, each setting parsed once; see :meth:`parse`.

    Attributes:
        config: the detector's resolved configuration, for building components.
        runtime: its top-level settings.
        slim: what the slim file says of the run; ``None`` for a detector alone.
        options: what the command added.
    """

    config: Config
    runtime: Runtime
    slim: SlimSettings | None
    options: TrainOptions

    @classmethod
    def parse(cls, cfg: Config, slim: Config | None = None, options: TrainOptions = DEFAULTS) -> Experiment:
        """The experiment of ``cfg`` and ``slim``; raises :class:`ConfigError` for wrong top-level settings."""
        cfg = _started(_named(cfg, slim), slim)
        if options.enable_ce:
            repeatable = freeze({"seed": 0, "TrainReader": {"shuffle": False}}, ENABLE_CE)
            cfg = replace(cfg.merge(repeatable), origin=cfg.origin)
        settings = runtime(cfg)
        _check_place(cfg, "save_dir", settings.save_dir)
        _check_place(cfg, NAME, settings.filename)
        return cls(cfg, settings, None if slim is None else _slim_settings(slim), options)

    def check(self) -> None:
        """Check everything else that can be checked before something heavy starts; raises :class:`ConfigError`."""
        check(self.config)
        _ = self.optimizer, self.learning_rate
        if self.config.get("TrainReader") is not None:
            _ = self.train_reader
        if self.config.get("EvalReader") is not None:
            _ = self.eval_reader
        if self.slim is not None:
            self._check_slim(self.slim)
        if self.runtime.epoch < 1:
            raise ConfigError(f"{self.config.where()}: epoch is missing; say how long to train, e.g. with -o epoch=12")

    def _check_slim(self, slim: SlimSettings) -> None:
        require_slim(slim.config, *TRAINED)
        if slim.distils:
            check_slim(slim.config, self.config)
            if slim.views is not None:
                check_repeatable(self.train_reader)
        elif slim.pruning is not None:
            _check_alone(slim.config)

    @cached_property
    def optimizer(self) -> OptimizerBuilder:
        """The block ``OptimizerBuilder``."""
        return build_optimizer(self.config)

    @cached_property
    def learning_rate(self) -> LearningRate:
        """The block ``LearningRate``."""
        return build_learning_rate(self.config)

    @cached_property
    def train_reader(self) -> BuiltReader:
        """The block ``TrainReader``, its transforms built."""
        return build_reader(self.config, "Train")

    @cached_property
    def eval_reader(self) -> BuiltReader:
        """The block ``EvalReader``, its transforms built."""
        return build_reader(self.config, "Eval")

    def evaluation_loader(self, dataset: DetectionDataset, *, worker_num: int | None = None) -> Loader:
        """All of ``dataset`` in every process, in order, as ``EvalReader`` reads it; see :func:`build_loader`."""
        return build_loader(self.eval_reader, dataset, worker_num=worker_num, alone=True)

    @property
    def folder(self) -> Path:
        """Where the run's log and checkpoints are: ``{save_dir}/{filename}``."""
        return Path(self.runtime.save_dir) / self.runtime.filename

    @property
    def was_named(self) -> bool:
        """Whether ``filename`` was set, in a file or with ``-o``, instead of made from the names of the files."""
        return self.config.mark(NAME) != FROM_FILES

    def at(self, folder: Path) -> Experiment:
        """The same experiment with its files in ``folder``."""
        if folder == self.folder:
            return self
        place = folder if folder.name else folder.absolute()
        config = self.config.with_item("save_dir", str(place.parent), FROM_RUN).with_item(NAME, place.name, FROM_RUN)
        settings = replace(self.runtime, save_dir=str(place.parent), filename=place.name)
        return replace(self, config=config, runtime=settings)

    def pruned(self, shapes: Shapes) -> Experiment:
        """The same experiment with a detector whose parameters have these ``shapes``."""
        if not shapes:
            return self
        merged = freeze({"pruned": {**(self.config.get("pruned") or {}), **shapes}}, PRUNED)
        return replace(self, config=self.config.with_item("pruned", merged["pruned"], PRUNED))

    @property
    def starts_trained(self) -> bool:
        """Whether the student starts from more than random weights."""
        return bool(self.runtime.pretrain_weights) or (self.slim is not None and self.slim.inherits)


def _started(cfg: Config, slim: Config | None) -> Config:
    """``cfg`` with what a slim file without distillation says of it, unless ``-o`` says otherwise.

    That is the weights from which a file of pruning starts. As in PaddleDetection, all settings beside the block of a
    file of quantisation-aware training are the detector's: epochs, learning rate, reader.
    """
    if slim is None or distils(slim):
        return cfg
    if trains_int8(slim):
        settings = cfg.merge(slim.without("slim", QAT)).merge(cfg.overridden())
        return replace(settings, origin=cfg.origin, path=cfg.path)
    if not slim.get(PRETRAIN) or cfg.mark(PRETRAIN) == OVERRIDE:
        return cfg
    return cfg.with_item(PRETRAIN, slim[PRETRAIN], slim.mark(PRETRAIN))


def _check_alone(slim: Config) -> None:
    """Raise :class:`ConfigError` for a key that a file of pruning without distillation does not have."""
    for key in slim:
        if key not in OF_PRUNING:
            raise LocatedError(
                slim.mark(key),
                f"{key} is not a key of a slim file that says slim: {slim['slim']}{nearest(key, OF_PRUNING)}; known "
                f"are {', '.join(OF_PRUNING)}. With a teacher write slim: DistillPrune",
            )


def _check_place(cfg: Config, key: str, value: str) -> None:
    """Raise :class:`ConfigError` unless what ``cfg`` sets, or else ``value``, can name a folder."""
    given = cfg.get(key, value)
    shown = "null" if given is None else repr(given)
    if not isinstance(given, str) or not given.strip() or "\0" in given:
        raise ConfigError(f"{cfg.where(key)}: {key} is {shown}, expected a folder ('.' is the current one)")


def _named(cfg: Config, slim: Config | None) -> Config:
    """``cfg`` with the run's name as ``filename``: what it says itself, else ``{detector's file}_{slim file}``."""
    if cfg.get(NAME) or not cfg.name:
        return cfg
    parts = [cfg.name] if slim is None or not slim.name else [cfg.name, slim.name]
    return cfg.with_item(NAME, "_".join(parts), FROM_FILES)


def _slim_settings(slim: Config) -> SlimSettings:
    return SlimSettings(
        config=slim,
        distils=distils(slim),
        pruning=PruneSettings.of(slim) if prunes(slim) else None,
        quantisation=TrainedQuantisation.of(slim) if trains_int8(slim) else None,
        inherits=bool(slim.at("student.inherit", None)),
        unlabelled=slim.get("UnlabelledDataset") is not None,
        unlabelled_batch_size=slim.get("unlabelled_batch_size"),
        views=repeated_views(slim) if distils(slim) else None,
    )

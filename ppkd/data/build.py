"""Data sets and loaders from a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ppkd.config import Config, build, named
from ppkd.data.datasets import DetectionDataset
from ppkd.data.loader import Loader
from ppkd.data.pipeline import Pipeline
from ppkd.data.reader import Reader, compose, mixes
from ppkd.data.sampling import Sampler
from ppkd.utils import processes
from ppkd.utils.errors import ConfigError, DataError
from ppkd.utils.names import shown

BOX_KEYS = ("gt_bbox", "gt_class", "is_crowd", "difficult")
EVERY_EPOCH = float("inf")


def build_dataset(cfg: Config, key: str, *, images: Sequence[str | Path] | None = None) -> DetectionDataset:
    """The data set under ``key`` (TrainDataset, EvalDataset, TestDataset, UnlabelledDataset) of ``cfg``.

    ``images`` are files that take the place of those of an ``ImageFolder``. An ``UnlabelledDataset`` may be any data
    set: its boxes are dropped. An ``EvalDataset`` keeps the images whose files are missing: their boxes count as
    missed. Raises :class:`ConfigError` for wrong settings, :class:`DataError` for wrong files and for
    classes of equal names.
    """
    spec = cfg.at(key)
    if spec is None:
        raise ConfigError(f"{cfg.where(key)}: {key} is empty, expected a data set such as {{name: COCODataSet, ...}}")
    name, _ = named(spec, cfg.mark(key))
    given = {} if images is None else {"images": images}
    dataset = build(cfg, spec, **given)
    if not isinstance(dataset, DetectionDataset):
        raise ConfigError(f"{cfg.where(key)}: {name} is a component, but not a data set")
    if key == "UnlabelledDataset":
        dataset.unlabel()
        return dataset
    _refuse_equal_names(dataset, f"{cfg.where(key)}: {key}")
    if key == "EvalDataset":
        dataset.keep_missing()
    elif key == "TrainDataset" and not any(dataset.summary.boxes.values()):
        raise DataError(f"{cfg.where(key)}: {key} has no box to learn from. {dataset.summary}")
    return dataset


def _refuse_equal_names(dataset: DetectionDataset, label: str) -> None:
    """Raise :class:`DataError` if two classes have one name: results by name would count for the last of them."""
    times = Counter(dataset.class_names)
    repeated = [shown(name) for name, count in times.items() if count > 1]
    if repeated:
        raise DataError(f"{label}: {repeated[0]!r} is the name of several classes; rename all but one, or join them")


def check_readers(cfg: Config) -> None:
    """Build the transforms of ``cfg``'s TrainReader and EvalReader and discard them; no data set is opened.

    Raises :class:`ConfigError` for what :func:`build_loader` would refuse in them.
    """
    for name in (name for name in ("TrainReader", "EvalReader") if cfg.get(name) is not None):
        reader: Reader = build(cfg, name)
        compose(cfg, name, "sample_transforms", reader.sample_transforms)
        compose(cfg, name, "batch_transforms", reader.batch_transforms)


def build_loader(
    cfg: Config,
    mode: Literal["Train", "Eval", "Test"],
    dataset: DetectionDataset,
    *,
    seed: int = 0,
    accumulate: int = 1,
    batch_size: int | None = None,
    worker_num: int | None = None,
    unlabelled: DetectionDataset | None = None,
    unlabelled_batch_size: int | None = None,
    alone: bool = False,
) -> Loader:
    """The loader that ``{mode}Reader`` of ``cfg`` describes.

    ``batch_size`` and ``worker_num`` override the reader's and the top level's. The images are divided among the
    processes of a distributed run, in training (which takes ``accumulate`` batches per update) and in evaluation.
    ``unlabelled_batch_size`` images of ``unlabelled`` (as many as labelled ones if not given) are appended to every
    batch. With ``alone`` every process reads all images, as in prediction.
    Raises :class:`ConfigError` for wrong settings, :class:`DataError` when there are fewer images than a batch needs.
    """
    name = f"{mode}Reader"
    reader: Reader = build(cfg, name)
    sample_transforms = compose(cfg, name, "sample_transforms", reader.sample_transforms)
    mixing = mixes(sample_transforms) and reader.training
    pipeline = Pipeline(
        dataset,
        sample_transforms,
        compose(cfg, name, "batch_transforms", reader.batch_transforms),
        seed,
        box_keys=() if mode == "Test" else (*BOX_KEYS, "gt_score") if mixing else BOX_KEYS,
        replace=reader.training,
        mixup_epochs=0 if not mixing else EVERY_EPOCH if reader.mixup_epoch == 0 else reader.mixup_epoch,
        unlabelled=unlabelled,
    )
    size = batch_size or reader.batch_size
    sampler = Sampler(
        len(dataset),
        size,
        seed,
        reader.pick(reader.shuffle),
        reader.pick(reader.drop_last),
        0 if alone or mode == "Test" else processes.rank(),
        1 if alone or mode == "Test" else processes.count(),
        len(unlabelled or ()),
        (unlabelled_batch_size or size) if unlabelled is not None else 0,
        parts=accumulate if reader.training else 1,
        shard=not reader.training,
    )
    if sampler.empty:
        raise DataError(
            f"{name} needs {sampler.share} images for a batch, but there are {len(dataset)}: "
            f"lower {name}.batch_size or set {name}.drop_last=false"
        )
    workers = worker_num if worker_num is not None else cfg.get("worker_num", 2)
    return Loader(pipeline, sampler, dataset, worker_num=workers, shared_memory=reader.use_shared_memory)

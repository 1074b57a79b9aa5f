"""Data sets and loaders from a configuration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ppkd.config import Config, build, named
from ppkd.data.datasets import DetectionDataset
from ppkd.data.loader import Loader
from ppkd.data.pipeline import Pipeline
from ppkd.data.reader import BuiltReader, TestReader, mixes
from ppkd.data.repeated import RepeatedViews
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


def build_loader(
    reader: BuiltReader,
    dataset: DetectionDataset,
    *,
    seed: int = 0,
    accumulate: int = 1,
    batch_size: int | None = None,
    worker_num: int | None = None,
    unlabelled: DetectionDataset | None = None,
    unlabelled_batch_size: int | None = None,
    alone: bool = False,
    repeated: RepeatedViews | None = None,
) -> Loader:
    """The loader of ``dataset`` as ``reader`` says.

    ``batch_size`` and ``worker_num`` override the reader's. The images are divided among the processes of a distributed
    run, in training (which takes ``accumulate`` batches per update) and in evaluation. ``unlabelled_batch_size`` images
    of ``unlabelled`` (as many as labelled ones if not given) are appended to every batch. With ``alone`` every process
    reads all images, as in prediction. ``repeated`` is for training without unlabelled images. Raises
    :class:`DataError` when there are fewer images than a batch needs.
    """
    settings, testing = reader.settings, isinstance(reader.settings, TestReader)
    size = batch_size or settings.batch_size
    apart = alone or testing
    sampler = Sampler(
        len(dataset),
        size,
        seed,
        settings.pick(settings.shuffle),
        settings.pick(settings.drop_last),
        0 if apart else processes.rank(),
        1 if apart else processes.count(),
        len(unlabelled or ()),
        (unlabelled_batch_size or size) if unlabelled is not None else 0,
        parts=accumulate if settings.training else 1,
        shard=not settings.training,
    )
    if sampler.empty:
        raise DataError(
            f"{reader.name} needs {sampler.share} images for a batch, but there are {len(dataset)}: "
            f"lower {reader.name}.batch_size or set {reader.name}.drop_last=false"
        )
    return Loader(
        _pipeline(reader, dataset, seed, unlabelled, repeated),
        sampler,
        dataset,
        worker_num=reader.worker_num if worker_num is None else worker_num,
        shared_memory=settings.use_shared_memory,
    )


def _pipeline(
    reader: BuiltReader,
    dataset: DetectionDataset,
    seed: int,
    unlabelled: DetectionDataset | None,
    repeated: RepeatedViews | None,
) -> Pipeline:
    settings = reader.settings
    mixing = mixes(reader.sample_transforms) and settings.training
    box_keys = (*BOX_KEYS, "gt_score") if mixing else BOX_KEYS
    return Pipeline(
        dataset,
        reader.sample_transforms,
        reader.batch_transforms,
        seed,
        box_keys=() if isinstance(settings, TestReader) else box_keys,
        replace=settings.training,
        mixup_epochs=0 if not mixing else EVERY_EPOCH if settings.mixup_epoch == 0 else settings.mixup_epoch,
        unlabelled=unlabelled,
        repeated=repeated,
        masks=dataset.masks,
    )

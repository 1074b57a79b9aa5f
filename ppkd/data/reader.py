"""The settings of a reader, as ``TrainReader``, ``EvalReader`` and ``TestReader`` blocks hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ppkd.config import Config, build, register
from ppkd.data.pixels import denormalise
from ppkd.data.transforms import Compose, Decode, GroupTransform, Mixup, NormalizeImage, Transform, Views
from ppkd.utils.errors import ConfigError

VIEWED = (("EvalReader", "sample_transforms"), ("TestReader", "sample_transforms"))
"""The lists that may have a transform that makes several views of an image."""
OTHERS = ("drop_empty", "collate_batch", "fuse_normalize", "use_process", "bufsize", "cutmix_epoch", "mosaic_epoch")
"""Settings of PaddleDetection's readers that have no effect here."""


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How images become batches.

    ``sample_transforms`` apply to each image, ``batch_transforms`` to the images of a batch. ``mixup_epoch`` is the
    number of epochs that ``Mixup`` mixes in: 0 all of them, -1 none. ``shuffle`` and ``drop_last`` are true in training
    and false elsewhere unless set. ``inputs_def`` is read by the export. ``drop_empty`` and
    ``collate_batch`` are accepted: images without boxes stay if the data set has them, and boxes are always lists.
    """

    training: ClassVar[bool] = False

    sample_transforms: Any = ()
    batch_transforms: Any = ()
    batch_size: int = 1
    shuffle: bool | None = None
    drop_last: bool | None = None
    drop_empty: bool = True
    collate_batch: bool = True
    mixup_epoch: int = -1
    use_shared_memory: bool = True
    inputs_def: Any = None
    num_classes: int = 80

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}, expected at least 1")

    def pick(self, setting: bool | None) -> bool:
        """``setting`` if it was made, else whether this reader is for training."""
        return self.training if setting is None else setting


@register(without_effect=OTHERS)
class TrainReader(Reader):
    """The training set's reader."""

    training = True


@register(without_effect=OTHERS)
class EvalReader(Reader):
    """The evaluation set's reader."""


@register(without_effect=OTHERS)
class TestReader(Reader):
    """The reader of images to be predicted."""

    __test__ = False


@dataclass(frozen=True)
class BuiltReader:
    """A reader with its transforms built: all that a loader knows besides its images.

    Attributes:
        name: ``TrainReader``, ``EvalReader`` or ``TestReader``.
        settings: the block of that name.
        sample_transforms: apply to each image.
        batch_transforms: apply to the images of a batch.
        worker_num: how many processes read.
    """

    name: str
    settings: Reader
    sample_transforms: Compose
    batch_transforms: Compose
    worker_num: int

    def plain(self, image: np.ndarray) -> np.ndarray:
        """``image`` (C, H, W) of a batch as RGB uint8 (H, W, 3), for people: what NormalizeImage did is undone."""
        transforms = (*self.sample_transforms.transforms, *self.batch_transforms.transforms)
        return denormalise(image, next((one.map for one in transforms if isinstance(one, NormalizeImage)), None))


def build_reader(cfg: Config, mode: Literal["Train", "Eval", "Test"]) -> BuiltReader:
    """The reader that ``{mode}Reader`` of ``cfg`` describes; no data set is opened.

    Raises :class:`ConfigError` for wrong settings.
    """
    name = f"{mode}Reader"
    settings: Reader = build(cfg, name)
    return BuiltReader(
        name,
        settings,
        compose(cfg, name, "sample_transforms", settings.sample_transforms),
        compose(cfg, name, "batch_transforms", settings.batch_transforms),
        cfg.get("worker_num", 2),
    )


def compose(cfg: Config, name: str, key: str, entries: Any) -> Compose:
    """The transforms that ``entries`` list under ``key`` of the reader ``name``; raises :class:`ConfigError`."""
    built = []
    for number, entry in enumerate(entries or ()):
        transform = build(cfg, entry)
        if not isinstance(transform, Transform | GroupTransform):
            where = cfg.where(f"{name}.{key}.{number}")
            raise ConfigError(f"{where}: {type(transform).__name__} is a component, but not a transform")
        built.append(transform)
    if (name, key) not in VIEWED and any(isinstance(transform, Views) for transform in built):
        raise ConfigError(
            f"{cfg.where(f'{name}.{key}')}: MultiscaleTestResize is for the sample_transforms of EvalReader and "
            "TestReader: write RandomResize or Resize here"
        )
    if key == "sample_transforms" and not any(isinstance(transform, Decode) for transform in built):
        raise ConfigError(f"{cfg.where(f'{name}.{key}')}: {name}.{key} needs Decode, which reads the image")
    if key == "batch_transforms" and any(isinstance(transform, Decode) for transform in built):
        raise ConfigError(f"{cfg.where(f'{name}.{key}')}: Decode reads one image: move it to {name}.sample_transforms")
    return Compose(built)


def mixes(transforms: Compose) -> bool:
    """Whether ``Mixup`` is among them."""
    return any(isinstance(transform, Mixup) for transform in transforms.transforms)

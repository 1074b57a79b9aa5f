"""Names and ids of a configuration's classes, without its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppkd.config import named, runtime
from ppkd.data.datasets.dataset import resolve
from ppkd.data.datasets.image_folder import class_list
from ppkd.data.datasets.yolo_files import YAML
from ppkd.utils.class_names import refuse_other_names
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

if TYPE_CHECKING:
    from ppkd.config import Config

OF_LISTS = ("VOCDataSet", "YOLODataSet")
"""Data sets whose ``anno_path`` may be a list of images."""


@dataclass(frozen=True)
class ClassLabels:
    """``names[i]`` and ``category_ids[i]`` (the data set's own number) of class ``i``."""

    names: tuple[str, ...]
    category_ids: tuple[int, ...]


def class_labels(cfg: Config, trained: Sequence[str] | None = None) -> ClassLabels:
    """The classes of ``TestDataset``: its ``label_list`` or its annotation file's; without either those ``trained``.

    Where those are not known, the usual ones of so many classes. Raises :class:`ConfigError` if their number is not
    ``num_classes`` or they are not those ``trained``, and :class:`DataError` for a damaged file.
    """
    directory, source = _source(cfg)
    expected = runtime(cfg).num_classes
    if trained is not None:
        if source is None or (isinstance(source, str) and not resolve(directory, source).exists()):
            source = trained
        refuse_other_names(
            trained,
            class_list(directory, source, expected)[1],
            where=cfg.where("TestDataset"),
            label="TestDataset",
            source=f"{cfg.get('weights')} was trained on",
        )
    if isinstance(source, str) and not resolve(directory, source).exists():
        get_logger("ppkd.deploy").warning(
            "%s is not there: the classes get the usual names of %d classes", resolve(directory, source), expected
        )
    ids, names = class_list(directory, source, expected)
    if len(names) != expected:
        where = resolve(directory, source) if isinstance(source, str) else "TestDataset.label_list"
        raise ConfigError(
            f"{cfg.where('num_classes')}: num_classes is {expected}, but {where} names {len(names)} classes"
        )
    return ClassLabels(names, ids)


def _source(cfg: Config) -> tuple[str | None, str | Sequence[str] | None]:
    """``dataset_dir`` of ``TestDataset`` and what holds its class names; a list of images holds none."""
    if cfg.get("TestDataset") is None:
        return None, None
    kind, settings = named(cfg["TestDataset"])
    source = settings.get("label_list")
    if source is None and (kind not in OF_LISTS or str(settings.get("anno_path")).endswith(YAML)):
        source = settings.get("anno_path")
    return settings.get("dataset_dir"), source

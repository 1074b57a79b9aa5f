"""ImageFolder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ppkd.config import register
from ppkd.data.annotation import Annotation
from ppkd.data.datasets import labels
from ppkd.data.datasets.coco import categories, read_annotations
from ppkd.data.datasets.dataset import DetectionDataset, exists, resolve
from ppkd.data.datasets.yolo_files import read_names
from ppkd.data.image import EXTENSIONS
from ppkd.data.summary import Summary
from ppkd.utils.errors import DataError
from ppkd.utils.files import files_below
from ppkd.utils.logger import get_logger

_log = get_logger(__name__)


@register(shared=("num_classes",), without_effect=("data_fields", "use_default_label"))
class ImageFolder(DetectionDataset):
    """Images without boxes: those of ``image_dir`` (a folder, a file, or several), or of ``images``.

    Paths are below ``dataset_dir`` or complete as given. Class names come from ``label_list`` (a text file, a
    ``data.yaml`` or a list of names) or ``anno_path`` (one of these files, or a COCO json); without either file, from
    the usual list of that many classes, COCO's or VOC's, or numbers, and a warning. Without ``image_dir`` it holds
    class names only.
    ``data_fields`` and ``use_default_label`` are accepted without effect.
    Raises :class:`DataError` when ``label_list`` or ``image_dir`` is missing, or the latter holds no image.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        image_dir: str | Sequence[str] | None = None,
        anno_path: str | None = None,
        data_fields: Sequence[str] = (),
        sample_num: int = -1,
        label_list: str | Sequence[str] | None = None,
        use_default_label: bool | None = None,
        num_classes: int = 80,
        images: Sequence[str | Path] | None = None,
    ) -> None:
        self.anno_path = None
        self.summary = Summary()
        if isinstance(label_list, str):
            label_list = read_names(resolve(dataset_dir, label_list))
        elif anno_path is not None and not resolve(dataset_dir, anno_path).exists():
            _log.warning("%s is not there: classes get the usual names", resolve(dataset_dir, anno_path))
        self.category_ids, self.class_names = class_list(dataset_dir, label_list or anno_path, num_classes)
        if images is not None:
            files = list(map(Path, images))
        else:
            folders = [image_dir] if isinstance(image_dir, str) else image_dir or ()
            files = [file for folder in folders for file in find_images(resolve(dataset_dir, folder))]
        found = [Annotation.bare(file, index) for index, file in enumerate(files)]
        self._take(found[:sample_num] if sample_num > 0 else found)


def find_images(path: Path) -> list[Path]:
    """The image ``path``, or those in the folder ``path``; raises :class:`DataError` when there is none."""
    if exists(path, Path.is_file):
        return [path]
    if not exists(path, Path.is_dir):
        raise DataError(f"there is no image or folder of images at {path}")
    files = list(files_below(path, EXTENSIONS))
    if not files:
        raise DataError(f"the folder {path} holds no image (.jpg, .jpeg, .png, .bmp)")
    return files


def class_list(
    dataset_dir: str | None, source: str | Sequence[str] | None, num_classes: int
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Category ids and names from a json file, a text file or a list, else the usual ones for ``num_classes``."""
    if isinstance(source, str):
        path = resolve(dataset_dir, source)
        if path.suffix == ".json" and path.exists():
            return categories(read_annotations(path), path)
        if path.exists():
            return _numbered(read_names(path))
    elif source:
        return _numbered(source)
    usual = {len(labels.COCO): labels.COCO, len(labels.VOC): labels.VOC}
    names = usual.get(num_classes) or tuple(f"class {i}" for i in range(num_classes))
    return _numbered(names)


def _numbered(names: Iterable[str]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """``names`` with COCO's own numbers where they are COCO's, else counted from 1."""
    names = tuple(names)
    return labels.COCO_IDS if names == labels.COCO else tuple(range(1, len(names) + 1)), names

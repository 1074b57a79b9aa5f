"""COCODataSet."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from ppkd.config import register
from ppkd.data.annotation import Annotation
from ppkd.data.datasets.coco_masks import read_masks
from ppkd.data.datasets.dataset import DetectionDataset, exists, inside, resolve, stated_side
from ppkd.data.summary import Summary
from ppkd.utils.errors import DataError, nearest
from ppkd.utils.files import read_json

LARGEST = 2**63 - 1

Entries = dict[int, Mapping[str, Any]]


@register
class COCODataSet(DetectionDataset):
    """Images and boxes of a json file in COCO's format.

    ``anno_path`` and ``image_dir`` lie below ``dataset_dir``. Class ``i`` is the ``i``-th category of the file,
    whatever its id. Crowd boxes are left out unless ``load_crowd``, images without boxes unless ``allow_empty``; of
    those, ``empty_ratio`` in [0, 1) limits the share of all images. ``sample_num`` > 0 takes that many images.
    ``gt_poly`` among ``data_fields`` reads the masks too, polygons and RLE; all other fields are always there.
    Raises :class:`DataError` for a missing or damaged file, a repeated image id, an unknown category, no image at all.
    """

    def __init__(
        self,
        dataset_dir: str | None = None,
        image_dir: str | None = None,
        anno_path: str | None = None,
        data_fields: Sequence[str] = (),
        sample_num: int = -1,
        load_crowd: bool = False,
        allow_empty: bool = False,
        empty_ratio: float = 1.0,
    ) -> None:
        if anno_path is None:
            raise DataError("COCODataSet needs anno_path, the json file")
        self.anno_path: Path = resolve(dataset_dir, anno_path)
        self.image_dir = resolve(dataset_dir, image_dir or "")
        self.masks = "gt_poly" in data_fields
        self._folders = (self.image_dir, *map(Path, filter(None, [dataset_dir])))
        self.summary = Summary()
        content = read_annotations(self.anno_path)
        self.category_ids, self.class_names = categories(content, self.anno_path)
        present, missing = self._images(content)
        boxes = self._by_image(content, present.keys() | missing.keys(), load_crowd)
        found, absent = (
            [self._annotation(image, boxes.get(number, [])) for number, image in images.items()]
            for images in (present, missing)
        )
        self._settle(
            found,
            absent,
            allow_empty=allow_empty,
            empty_ratio=empty_ratio,
            sample_num=sample_num,
            source=self.anno_path,
        )
        self._refuse_bare()

    def _images(self, content: Mapping[str, Any]) -> tuple[Entries, Entries]:
        """The entries of the images whose file exists, and of those whose does not, which are counted; by id."""
        present: Entries = {}
        missing: Entries = {}
        for image in content["images"]:
            number = _need(image, "id", "image", self.anno_path)
            name = _need(image, "file_name", "image", self.anno_path, str)
            if not isinstance(number, int) or abs(number) > LARGEST:
                raise DataError(f"{self.anno_path}: image {name} has the id {number!r}, expected an integer of 64 bits")
            for same in filter(None, (present.get(number), missing.get(number))):
                raise DataError(f"{self.anno_path}: images {same['file_name']} and {name} share the id {number}")
            is_there = exists(inside(self.image_dir / name, self._folders, self.anno_path), Path.is_file)
            (present if is_there else missing)[number] = image
        self.summary.missing += [image["file_name"] for image in missing.values()]
        if not present and not missing:
            raise DataError(f"{self.anno_path}: it lists no image")
        if not present:
            raise DataError(
                f"{self.anno_path}: none of its {len(missing)} images is in {self.image_dir}; "
                "check dataset_dir and image_dir"
            )
        return present, missing

    def _by_image(
        self, content: Mapping[str, Any], images: Collection[int], load_crowd: bool
    ) -> dict[int, list[Mapping[str, Any]]]:
        """The annotations of every id of ``images``, checked."""
        known = {number: index for index, number in enumerate(self.category_ids)}
        grouped = defaultdict(list)
        for entry in content.get("annotations", ()):
            image = _need(entry, "image_id", "annotation", self.anno_path, int | str)
            category = _need(entry, "category_id", "annotation", self.anno_path, int | str)
            box = _need(entry, "bbox", "annotation", self.anno_path)
            if category not in known:
                raise DataError(
                    f"{self.anno_path}: annotation {entry.get('id')} of image {image} has category_id {category}, "
                    f"which is not among its categories{nearest(str(category), map(str, known))}"
                )
            if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
                raise DataError(
                    f"{self.anno_path}: annotation {entry.get('id')} of image {image} has bbox {box}, "
                    "expected [x, y, width, height]"
                )
            if image not in images:
                self.summary.orphans += 1
            elif load_crowd or not entry.get("iscrowd"):
                grouped[image].append(entry)
        if self.summary.orphans and self.summary.orphans == len(content["annotations"]):
            raise DataError(f"{self.anno_path}: none of its annotations belongs to an image that it lists")
        self._class_of = known
        return grouped

    def _refuse_bare(self) -> None:
        if self.masks and not any(a.gt_poly is not None and len(a.gt_poly.edges) for a in self.annotations):
            raise DataError(
                f"{self.anno_path}: none of its boxes has a mask, but data_fields asks for gt_poly: give every "
                "annotation a segmentation, or choose a detector without masks"
            )

    def _annotation(self, image: Mapping[str, Any], entries: list[Mapping[str, Any]]) -> Annotation:
        boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
        with np.errstate(invalid="ignore", over="ignore"):
            boxes[:, 2:] += boxes[:, :2]
            corners = boxes.astype(np.float32)
        size = stated_side(image.get("height")), stated_side(image.get("width"))
        return Annotation(
            file=self.image_dir / image["file_name"],
            im_id=image["id"],
            height=size[0],
            width=size[1],
            gt_bbox=corners,
            gt_class=np.array([self._class_of[entry["category_id"]] for entry in entries], np.int64),
            is_crowd=np.array([bool(entry.get("iscrowd")) for entry in entries], np.int64),
            difficult=np.zeros(len(entries), np.int64),
            gt_poly=read_masks(entries, size, image["file_name"], self.summary) if self.masks else None,
        )


def read_annotations(path: Path) -> Mapping[str, Any]:
    """A COCO json file; raises :class:`DataError` when it is missing, no json, or lacks images or categories."""
    try:
        content = read_json(path)
    except OSError as error:
        raise DataError(f"cannot read annotations {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is no valid json: {error}") from error
    for key, default in (("images", None), ("categories", None), ("annotations", [])):
        if not isinstance(content, dict) or not isinstance(content.get(key, default), list):
            raise DataError(f"{path} has no list '{key}': not a COCO annotation file")
    return content


def categories(content: Mapping[str, Any], path: Path) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Ids and names of the categories, in the file's order; raises :class:`DataError` for repeated ids."""
    ids = tuple(_need(entry, "id", "category", path, int) for entry in content["categories"])
    names = tuple(str(_need(entry, "name", "category", path)) for entry in content["categories"])
    number, times = max(Counter(ids).items(), key=itemgetter(1), default=(0, 0))
    if times > 1:
        raise DataError(f"{path}: {times} categories share the id {number}")
    return ids, names


def _need(entry: Mapping[str, Any], key: str, kind: str, path: Path, wanted: Any = object) -> Any:
    try:
        value = entry[key]
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: an entry of kind {kind} has no '{key}': {str(entry)[:200]}") from error
    if not isinstance(value, wanted):
        raise DataError(f"{path}: an entry of kind {kind} has a wrong '{key}': {str(entry)[:200]}")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= LARGEST)

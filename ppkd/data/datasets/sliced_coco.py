"""SlicedCOCODataSet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ppkd.config import register
from ppkd.data.datasets.coco import COCODataSet
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

_log = get_logger(__name__)


@register
class SlicedCOCODataSet(COCODataSet):
    """A COCO data set whose pictures ``ppkd eval --slice_infer`` cuts into slices; elsewhere they stay whole.

    ``sliced_size`` is the height and width of a slice in pixels, ``overlap_ratio`` the share of both that the next
    slice has too; flags of the command win over them. The other settings are those of :class:`COCODataSet`.
    Raises :class:`ConfigError` for slices that are none, and what :class:`COCODataSet` does.
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
        sliced_size: Sequence[int] = (640, 640),
        overlap_ratio: Sequence[float] = (0.25, 0.25),
    ) -> None:
        _check("sliced_size", sliced_size, all(side > 0 for side in sliced_size), "pixels above 0")
        _check("overlap_ratio", overlap_ratio, all(0 <= share < 1 for share in overlap_ratio), "shares below 1")
        super().__init__(
            dataset_dir, image_dir, anno_path, data_fields, sample_num, load_crowd, allow_empty, empty_ratio
        )
        _log.info("%s: pictures are cut into slices by `ppkd eval --slice_infer` alone, and whole elsewhere", anno_path)


def _check(name: str, values: Sequence[Any], valid: bool, expected: str) -> None:
    if len(values) != 2 or not valid:
        raise ConfigError(f"SlicedCOCODataSet.{name} is {list(values)}, expected height and width, two {expected}")

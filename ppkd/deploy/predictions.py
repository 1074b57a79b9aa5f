"""Detections of pictures as objects that draw, save, filter and convert themselves."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ppkd.data.image import read_image
from ppkd.deploy.pipeline import Detections, Found
from ppkd.deploy.results import Results, write_picture
from ppkd.report.draw import draw_detections
from ppkd.utils.errors import ConfigError, nearest

if TYPE_CHECKING:
    import pandas
    import supervision

SHOWN = 12
"""Pictures that a notebook shows of many."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What was found in one picture.

    Attributes:
        source: the picture: its file, or RGB uint8 (H, W, 3).
        rows: float32 (k, 6) = class, score, x1, y1, x2, y2 in the picture's pixels.
        class_names: the names of the classes.
        name: the file's name, or a number for an array.
        masks: uint8 (k, H, W) of the picture's size, 1 inside of each object, of a detector of masks.
    """

    source: Path | NDArray[np.uint8]
    rows: Detections
    class_names: tuple[str, ...]
    name: str
    masks: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        best = f", best score {self.scores.max():.2f}" if len(self) else ""
        return f"<Prediction {self.name}: {len(self)} objects{best}>"

    @property
    def picture(self) -> NDArray[np.uint8]:
        """The picture, RGB uint8 (H, W, 3); a file is read anew."""
        return self.source if isinstance(self.source, np.ndarray) else read_image(self.source)

    @property
    def classes(self) -> NDArray[np.int64]:
        """Indices into ``class_names``, int64 (k,)."""
        return self.rows[:, 0].astype(np.int64)

    @property
    def scores(self) -> NDArray[np.float32]:
        """Scores, float32 (k,)."""
        return self.rows[:, 1]

    @property
    def boxes(self) -> NDArray[np.float32]:
        """x1, y1, x2, y2 in the picture's pixels, float32 (k, 4)."""
        return self.rows[:, 2:]

    def filter(self, score: float = 0.0, classes: Iterable[str | int] | None = None) -> Prediction:
        """The objects that score at least ``score`` and are of one of ``classes``, names or indices.

        Raises :class:`ConfigError` for a class that there is not.
        """
        keep = self.scores >= score
        if classes is not None:
            keep &= np.isin(self.classes, [self._index(each) for each in classes])
        kept = Found(self.rows, self.masks).take(keep)
        return replace(self, rows=kept.rows, masks=kept.masks)

    def draw(self) -> NDArray[np.uint8]:
        """The picture with boxes, masks, class names and scores, RGB uint8 (H, W, 3)."""
        return draw_detections(self.picture, self.rows, self.class_names, 0.0, self.masks)

    def save(self, path: str | Path) -> Path:
        """Write :meth:`draw` to the file ``path``; raises :class:`DataError` where that cannot be."""
        write_picture(Path(path), self.draw())
        return Path(path)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each object: picture, class, score, x1, y1, x2, y2; raises :class:`ConfigError` without pandas."""
        return _package("pandas", "to_pandas").DataFrame(
            {
                "picture": [self.name] * len(self),
                "class": [self.class_names[index] for index in self.classes],
                "score": self.scores,
                **dict(zip(("x1", "y1", "x2", "y2"), self.boxes.T, strict=True)),
            }
        )

    def to_supervision(self) -> supervision.Detections:
        """The objects as supervision's ``Detections``; raises :class:`ConfigError` without that package."""
        names = np.array([self.class_names[index] for index in self.classes], dtype=str)
        return _package("supervision", "to_supervision").Detections(
            xyxy=self.boxes.copy(),
            mask=None if self.masks is None else self.masks.astype(bool),
            confidence=self.scores.copy(),
            class_id=self.classes,
            data={"class_name": names},
        )

    def _index(self, given: str | int) -> int:
        if isinstance(given, str) and given in self.class_names:
            return self.class_names.index(given)
        if isinstance(given, int) and 0 <= given < len(self.class_names):
            return given
        hint = nearest(str(given), self.class_names)
        raise ConfigError(f"there is no class {given!r}{hint}; classes are {', '.join(self.class_names[:20])}")

    def _repr_png_(self) -> bytes:
        encoded: bytes = cv2.imencode(".png", np.ascontiguousarray(self.draw()[..., ::-1]))[1].tobytes()
        return encoded


class Predictions(Sequence[Prediction]):
    """What was found in several pictures, in their order; all of :class:`Prediction`'s methods at once."""

    def __init__(self, each: Iterable[Prediction], category_ids: Sequence[int]) -> None:
        self._each = tuple(each)
        self.category_ids = tuple(category_ids)

    def __len__(self) -> int:
        return len(self._each)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        return Predictions(self._each[index], self.category_ids) if isinstance(index, slice) else self._each[index]

    def __iter__(self) -> Iterator[Prediction]:
        return iter(self._each)

    def __repr__(self) -> str:
        return f"<Predictions: {sum(map(len, self))} objects in {len(self)} pictures>"

    def filter(self, score: float = 0.0, classes: Iterable[str | int] | None = None) -> Predictions:
        """:meth:`Prediction.filter` of every picture."""
        wanted = None if classes is None else list(classes)
        return Predictions((each.filter(score, wanted) for each in self), self.category_ids)

    def save(self, folder: str | Path) -> Path:
        """Write the drawn pictures, under their names, and ``bbox.json`` into ``folder``, and return it.

        Raises :class:`DataError` where a picture would replace one that was read, :class:`ConfigError` for a folder
        that cannot be written.
        """
        names = self._each[0].class_names if self._each else ()
        results = Results(folder, names, self.category_ids, threshold=0.0)
        results.check_inputs([each.source for each in self if isinstance(each.source, Path)])
        for index, each in enumerate(self):
            results.add(index, Path(each.name), each.picture, Found(each.rows, each.masks))
        results.write_json()
        return Path(folder)

    def to_pandas(self) -> pandas.DataFrame:
        """The rows of all pictures; raises :class:`ConfigError` without pandas."""
        frames = [each.to_pandas() for each in self]
        return _package("pandas", "to_pandas").concat(frames, ignore_index=True) if frames else _empty().to_pandas()

    def to_supervision(self) -> list[supervision.Detections]:
        """:meth:`Prediction.to_supervision` of every picture."""
        return [each.to_supervision() for each in self]

    def _repr_html_(self) -> str:
        pictures = [base64.b64encode(each._repr_png_()).decode() for each in self[:SHOWN]]
        shown = "".join(f'<img style="max-width:32%;margin:2px" src="data:image/png;base64,{one}">' for one in pictures)
        rest = f"<p>and {len(self) - SHOWN} pictures more</p>" if len(self) > SHOWN else ""
        return f"<div>{shown}{rest}</div>"


def _empty() -> Prediction:
    return Prediction(np.zeros((1, 1, 3), np.uint8), np.zeros((0, 6), np.float32), (), "")


def _package(name: str, method: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{method} needs the package {name}: pip install {name}") from error

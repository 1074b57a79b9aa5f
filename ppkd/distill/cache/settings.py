"""The block ``cache`` of a teacher in a slim file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ppkd.config import Config
from ppkd.config.convert import convert
from ppkd.config.value import LocatedError

CACHE = "cache"
DType = Literal["float16", "bfloat16", "float32"]


@dataclass(frozen=True)
class CacheSettings:
    """Where and how a teacher's answers are kept.

    Attributes:
        dir: their folder.
        views: how many augmented views of every image there are; epochs take them in turn.
        dtype: the numbers are kept as; float32 keeps every bit.
        limit_gb: the most that the folder may need, in 10^9 bytes.
    """

    dir: str
    views: Annotated[int, Field(ge=1)] = 1
    dtype: DType = "float16"
    limit_gb: Annotated[float, Field(gt=0)] = 20.0

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return Path(self.dir).expanduser()


def cache_of(slim: Config, block: str) -> CacheSettings | None:
    """The settings of the teacher at the dotted key ``block``, None without any; raises :class:`ConfigError`."""
    path = f"{block}.{CACHE}"
    if slim.at(path, None) is None:
        return None
    if not slim.at(f"{path}.dir", None):
        raise LocatedError(slim.mark(path), f"{path}.dir is missing: name the folder of the recorded answers")
    return convert(slim.at(path), CacheSettings, path, slim.mark(path))

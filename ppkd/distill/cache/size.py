"""How large a teacher's cache is, and what its narrow numbers change."""

from __future__ import annotations

import shutil
from pathlib import Path

import paddle

from ppkd.distill.cache.chunks import Chunks, row_bytes
from ppkd.distill.cache.teacher import CachedTeacher
from ppkd.structures import Record
from ppkd.utils.errors import ConfigError
from ppkd.utils.logger import get_logger

GB = 1e9
ADVICE = "Take fewer views, float16, or losses that read less"

logger = get_logger(__name__)


def announce(teacher: CachedTeacher, chunks: Chunks, record: Record, missing: int) -> None:
    """Log the size of the cache, of whose files so many are ``missing``, and what its numbers change in a ``record``.

    Raises :class:`ConfigError` where it is more than the limit, or the disk has.
    """
    settings, row, files = teacher.settings, row_bytes(chunks.shapes, chunks.width), len(list(chunks))
    total = row * chunks.images * chunks.views
    logger.info(
        "%s's cache: %d images x %d views x %.3g MB (%s) make %.3g GB in %s; %d of %d files are to be recorded",
        teacher.name.capitalize(),
        chunks.images,
        chunks.views,
        row / 1e6,
        ", ".join(teacher.recorded.entries),
        total / GB,
        settings.folder,
        missing,
        files,
    )
    logger.info("%s changes its answers by %s of their size", settings.dtype, _errors(record, settings.dtype))
    needs = f"the {teacher.name}'s cache needs {total / GB:.3g} GB"
    if total > settings.limit_gb * GB:
        raise ConfigError(f"{needs}, more than cache.limit_gb: {settings.limit_gb:g}. {ADVICE}, or set cache.limit_gb")
    free = shutil.disk_usage(_existing(settings.folder)).free
    if total * missing / files > free:
        raise ConfigError(f"{needs}, but {settings.folder} has {free / GB:.3g} GB free. {ADVICE}")


def _errors(record: Record, dtype: str) -> str:
    """What rounding changes, its root mean square by that of the numbers, for each entry."""
    shares = {}
    for name, levels in record.tensors.items():
        flat = paddle.concat([level.astype("float32").flatten() for level in levels])
        changed = flat.astype(dtype).astype("float32") - flat
        shares[name] = (changed.norm() / flat.norm().clip(1e-30)).item()
    return ", ".join(f"{share:.1e} ({name})" for name, share in shares.items())


def _existing(folder: Path) -> Path:
    """``folder``, or the nearest one above it that is there."""
    return next(place for place in (folder.absolute(), *folder.absolute().parents) if place.is_dir())

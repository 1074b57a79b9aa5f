"""What recorded answers depend on; answers to anything else are refused with what differs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ppkd.data.annotation import Annotation
from ppkd.engine.settings_record import changes, leaves
from ppkd.structures import DetectorSpec
from ppkd.utils.atomic import atomic_open
from ppkd.utils.errors import ConfigError

FILE = "cache.json"
FORMAT = 1
"""Changes with the meaning of the files and of the views."""
SHOWN = 4
TRANSFORMS = ("sample_transforms", "batch_transforms", "mixup_epoch")

Key = Mapping[str, Any]


def key_of(
    fingerprint: str, recorded: DetectorSpec, dtype: str, images: Iterable[Annotation], reader: Mapping[str, Any]
) -> Key:
    """What the answers of the teacher with that ``fingerprint`` depend on: its entries, numbers, images and transforms.

    ``reader`` is the plain block of the reader. How many views there are is no part of it: more can be added.
    """
    entries = {
        name: ", ".join(f"{level.anchors * level.channels} at stride {level.stride}" for level in entry.levels)
        for name, entry in recorded.entries.items()
    }
    return {
        "format": FORMAT,
        "teacher": fingerprint,
        "entries": entries,
        "dtype": dtype,
        "images": _images(images),
        "TrainReader": {name: reader.get(name) for name in TRANSFORMS},
    }


def check_key(folder: Path, key: Key) -> None:
    """Raise :class:`ConfigError` for a ``folder`` with answers to something else, or with anything but answers."""
    path = folder / FILE
    if not path.exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(f"{folder}: it is no teacher's cache, and not empty: name another folder as cache.dir")
        return
    try:
        before = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: it cannot be read: delete the folder, or name another as cache.dir") from error
    if differing := changes(_flat(before), _flat(key)):
        more = f"; and {len(differing) - SHOWN} more" if len(differing) > SHOWN else ""
        shown = "; ".join(differing[:SHOWN]) + more
        raise ConfigError(f"{folder} has answers to something else ({shown}): delete it, or name another as cache.dir")


def write_key(folder: Path, key: Key) -> None:
    """Say in ``folder`` what its answers depend on; raises :class:`WeightsError` where that cannot be written."""
    with atomic_open(folder / FILE) as file:
        file.write(json.dumps(key, indent=1).encode())


def _flat(key: Any) -> dict[str, str]:
    found = key.items() if isinstance(key, Mapping) else ()
    return {name: json.dumps(value) for top, below in found for name, value in leaves(below, top)}


def _images(images: Iterable[Annotation]) -> str:
    """A hash of the images' names, sizes and boxes, which transforms may read, and of the files' lengths."""
    digest = hashlib.sha256()
    for one in images:
        length = one.file.stat().st_size if one.file.exists() else -1
        digest.update(f"{one.file.name} {length} {one.im_id} {one.height} {one.width}\n".encode())
        for array in (one.gt_bbox, one.gt_class, one.is_crowd, one.difficult):
            digest.update(array.tobytes())
    return digest.hexdigest()

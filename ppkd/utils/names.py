"""Names that users and data sets choose, such as those of classes, as names of files and as text in plots."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

_FILE_BYTES, _SHOWN = 80, 60
_UNSAFE = re.compile(r"[^\w.+ -]|^[.-]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def file_stems(names: Iterable[str]) -> dict[str, str]:
    """For each name the beginning of a file's name that is safe, short and no other name's.

    Characters other than letters, digits, ``_ . + -`` and spaces become ``_``, and what is beyond 80 bytes is left out;
    names that are equal then, or differ in case only, are numbered.
    """
    stems: dict[str, str] = {}
    taken: set[str] = set()
    used: Counter[str] = Counter()
    for name in dict.fromkeys(names):
        plain = _UNSAFE.sub("_", name).encode()[:_FILE_BYTES].decode(errors="ignore") or "_"
        stem = plain
        while stem.casefold() in taken:
            used[plain] += 1
            stem = f"{plain}-{used[plain] + 1}"
        taken.add(stem.casefold())
        stems[name] = stem
    return stems


def shown(name: str) -> str:
    """``name`` as one short line: control characters become ``?``, what is beyond 60 characters becomes ``...``."""
    return _CONTROL.sub("?", name if len(name) <= _SHOWN else f"{name[: _SHOWN - 3]}...")


def plot_text(name: str) -> str:
    """:func:`shown`, for Matplotlib: it takes ``$...$`` for a formula and leaves out labels that begin with ``_``."""
    text = shown(name).replace("$", r"\$")
    return f" {text}" if text[:1] in ("", "_") else text

"""Hypothesis strategies that damage a valid file: in its bytes, or in the structure that its bytes hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

fewer = settings(max_examples=settings.default.max_examples // 4)
"""For tests that draw a figure for each example, a third of a second."""

FRACTION = st.floats(0, 1, exclude_max=True)

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 1e-320]),
    st.floats(),
)
NAMES = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "x" * 5000, "\ud800", "nan", "1e999", "true"]
    ),
)
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, NAMES)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=2)),
    max_leaves=6,
)

Path = tuple[str | int, ...]


def damaged(valid: bytes) -> st.SearchStrategy[bytes]:
    """``valid`` with one to four bytes flipped, pieces cut out, repeated, inserted, or its end missing."""
    edit = st.tuples(st.sampled_from(sorted(EDITS)), FRACTION, FRACTION, st.binary(min_size=1, max_size=4))
    return st.lists(edit, min_size=1, max_size=4).map(lambda edits: _edited(valid, edits))


EDITS: dict[str, Callable[[bytes, int, int, bytes], bytes]] = {
    "flip": lambda data, at, end, new: data[:at] + bytes([data[at] ^ new[0]]) + data[at + 1 :],
    "cut out": lambda data, at, end, new: data[:at] + data[end:],
    "repeat": lambda data, at, end, new: data[:end] + data[at:end] + data[end:],
    "insert": lambda data, at, end, new: data[:at] + new + data[at:],
    "overwrite": lambda data, at, end, new: data[:at] + new + data[at + len(new) :],
    "truncate": lambda data, at, end, new: data[:at],
}


def _edited(data: bytes, edits: list[tuple[str, float, float, bytes]]) -> bytes:
    for kind, first, length, new in edits:
        at = int(first * len(data))
        if at < len(data):
            data = EDITS[kind](data, at, at + 1 + int(length * min(64, len(data) - at)), new)
    return data


def altered(valid: Any) -> st.SearchStrategy[Any]:
    """``valid``, made of dicts and lists, with one to three of its values replaced, removed, repeated or moved."""
    change = st.tuples(FRACTION, st.sampled_from(["replace", "remove", "repeat", "swap"]), VALUES, FRACTION)
    return st.lists(change, min_size=1, max_size=3).map(lambda changes: _altered(valid, changes))


def _altered(valid: Any, changes: list[tuple[float, str, Any, float]]) -> Any:
    tree = copy.deepcopy(valid)
    for where, kind, value, other in changes:
        paths = list(_paths(tree))
        if not paths:
            break
        *parents, key = paths[int(where * len(paths))]
        holder = _at(tree, tuple(parents))
        if kind == "replace":
            holder[key] = value
        elif kind == "remove":
            del holder[key]
        elif kind == "swap":
            holder[key] = copy.deepcopy(_at(tree, paths[int(other * len(paths))]))
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
    return tree


def _paths(tree: Any, above: Path = ()) -> Iterator[Path]:
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in items:
        yield (*above, key)
        yield from _paths(value, (*above, key))


def _at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree

"""A :class:`Config` as yaml that loads again to an equal one, each key with its origin as a comment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from ppkd.config.parse import parse
from ppkd.config.value import Config, Mark
from ppkd.utils.errors import ConfigError

HEAD = "# All settings as they were used; behind each key stands what set it."
INDENT = "  "
_UNBROKEN = 1 << 30


def to_yaml(cfg: Config) -> str:
    """``cfg`` as yaml text without ``_BASE_``; loading it gives the same values, component tags and anchors."""
    lines = [HEAD]
    for number, (key, value) in enumerate(cfg.items()):
        mark = cfg.mark(key)
        anchor = f" &a{number}" if mark.anchor else ""
        lines += _entry(key, value, mark, "", anchor)
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any, mark: Mark, indent: str, anchor: str = "") -> Iterator[str]:
    """The lines of ``key: value``."""
    head, below = _split(value, indent + INDENT)
    yield f"{indent}{_scalar(key)}:{anchor}{head}{_comment(mark)}"
    yield from below


def _split(value: Any, indent: str) -> tuple[str, list[str]]:
    """What of ``value`` stands behind its key or dash, and the lines below, at ``indent``."""
    if isinstance(value, Config):
        tag = f" !{value['name']}" if value.tagged else ""
        items = value.without("name") if value.tagged else value
        if not items:
            return f"{tag} {{}}", []
        return tag, [line for key in items for line in _entry(key, items[key], items.mark(key), indent)]
    if isinstance(value, tuple) and _holds_mappings(value):
        return "", [line for item in value for line in _item(item, indent)]
    return f" {_flow(value)}", []


def _item(value: Any, indent: str) -> Iterator[str]:
    """The lines of an item of a list; what has no tag begins behind the dash."""
    head, below = _split(value, indent + INDENT)
    if not head:
        head, *below = below
        head = f" {head.lstrip()}"
    yield f"{indent}-{head}"
    yield from below


def _holds_mappings(value: Any) -> bool:
    return isinstance(value, Config) or (isinstance(value, tuple) and any(map(_holds_mappings, value)))


def _flow(value: Any) -> str:
    """A scalar, or a list of lists of scalars on one line."""
    return f"[{', '.join(map(_flow, value))}]" if isinstance(value, tuple) else _scalar(value)


def _scalar(value: Any) -> str:
    """A scalar, quoted where it would be read as something else without; types are those that :func:`parse` makes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(repr(value), repr(value))
    if isinstance(value, int):
        return str(value)
    return value if _plain(value) else _quoted(value)


def _plain(text: str) -> bool:
    """Whether ``text`` is read as itself inside a list on one line, which is stricter than elsewhere."""
    if not text or not text.isprintable() or ": " in text or text.endswith(":"):
        return False
    try:
        return bool(parse(f"[{text}]", "") == (text,))
    except ConfigError:
        return False


def _quoted(text: str) -> str:
    dumped: str = yaml.safe_dump(text, default_style='"', width=_UNBROKEN)
    return dumped.strip()


def _comment(mark: Mark) -> str:
    text = str(mark)
    return f"  # {text}" if text.isprintable() else ""

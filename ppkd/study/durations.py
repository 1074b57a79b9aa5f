"""Durations as people write them: ``3h``, ``90m``, ``1h30m``, ``45s``."""

from __future__ import annotations

import re

from ppkd.utils.errors import ConfigError

_FORM = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")


def seconds_of(text: str, where: str) -> float:
    """The seconds of ``text``; raises :class:`ConfigError` naming ``where`` it stands when it is no duration."""
    match = _FORM.fullmatch(text.replace(" ", ""))
    numbers = [float(part or 0) for part in match.groups()] if match else []
    if not sum(numbers):
        raise ConfigError(f"{where}: '{text}' is no duration; write 3h, 90m, 1h30m or 45s")
    hours, minutes, seconds = numbers
    return 3600 * hours + 60 * minutes + seconds


def shown(seconds: float) -> str:
    """``seconds`` in the largest unit that keeps it above one: ``2.5 h``, ``40 min``, ``12 s``."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"

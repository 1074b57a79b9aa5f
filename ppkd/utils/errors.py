"""Errors that a user can cause: one line that says what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

# Looking for a near name takes time with the lengths and the number of names.
_LONGEST, _MOST = 200, 2000


class PPKDError(Exception):
    """Base of every error that a user can cause; command lines print it without a traceback."""


class ConfigError(PPKDError):
    """A configuration file or override is wrong; names file, line and key."""


class DataError(PPKDError):
    """A data set, annotation file or image is missing or malformed; names the file."""


class WeightsError(PPKDError):
    """A weight file is missing, unsafe, damaged, or belongs to another model."""


class SpecError(PPKDError):
    """A distillation loss consumes what a detector does not record."""


class TrainingError(PPKDError):
    """Training cannot go on; says at which step and why."""


def nearest(name: str, valid: Iterable[str], *, least: float = 0.6) -> str:
    """A hint such as ``"; did you mean 'neck'?"`` or, when nothing is as near as ``least`` of 1, the empty string."""
    if len(name) > _LONGEST:
        return ""
    by_lower = {candidate.lower(): candidate for candidate in islice(valid, _MOST)}
    match = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=least)
    return f"; did you mean '{by_lower[match[0]]}'?" if match else ""

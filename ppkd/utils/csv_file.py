"""Reading a csv file that ppkd wrote and anybody may have changed."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from ppkd.utils.errors import DataError
from ppkd.utils.files import read_text

REMEDY = "expected what a training run writes, columns separated by commas; save it so again"


def read_rows(path: Path, *, column: str) -> list[dict[str, str]]:
    """The rows of a csv file with a heading, by the names of its columns; a cell that is absent is empty.

    A byte-order mark and spaces after commas are passed over. Raises :class:`DataError` when the file is missing, no
    text or no csv, has no ``column``, or a row has more cells than the heading.
    """
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), restval="", skipinitialspace=True)
        names = [name.strip() for name in reader.fieldnames or ()]
        reader.fieldnames = names
        rows = list(reader)
    except OSError as error:
        raise DataError(f"{path}: cannot read the run's results: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable csv file ({error}); {REMEDY}") from error
    if names and (column not in names or len(set(names)) < len(names)):
        raise DataError(f"{path}: its heading is {', '.join(names)[:80]!r}, without '{column}' once; {REMEDY}")
    for line, row in enumerate(rows, start=2):
        if None in row:
            raise DataError(f"{path}:{line}: more cells than the heading has; {REMEDY}")
    return rows

"""Commands as a user types them, in this process: to import Paddle takes longer than what most of them do."""

from __future__ import annotations

import contextlib
import io
import logging
import runpy
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch


def call(script: Path, *arguments: str, folder: Path) -> tuple[int, str]:
    """The exit code of ``python script arguments`` in ``folder``, and all that it says."""
    said = io.StringIO()
    with (
        contextlib.chdir(folder),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        patch.object(sys, "argv", [str(script), *arguments]),
        patch.object(sys, "path", [*sys.path]),
        ppkds_logger_kept() as logger,
    ):
        logger.handlers.clear()
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            return ended.code or 0, said.getvalue()
    return 0, said.getvalue()


@contextlib.contextmanager
def ppkds_logger_kept() -> Iterator[logging.Logger]:
    """Runs configure ppkd's logger; after the block it is as it was."""
    logger = logging.getLogger("ppkd")
    level, propagate, handlers = logger.level, logger.propagate, list(logger.handlers)
    yield logger
    for handler in set(logger.handlers) - set(handlers):
        handler.close()
    logger.level, logger.propagate, logger.handlers[:] = level, propagate, handlers

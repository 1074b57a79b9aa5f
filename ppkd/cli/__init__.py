"""The commands of ``ppkd``, one file each; the scripts of ``tools/`` run the same ones."""

from __future__ import annotations

import sys

OLDEST = (3, 11)

# Here, because every command passes here before anything that an older Python does not understand.
if sys.version_info < OLDEST:
    this = ".".join(map(str, sys.version_info[:3]))
    sys.exit(f"error: ppkd needs Python {'.'.join(map(str, OLDEST))} or newer; {sys.executable} is {this}")

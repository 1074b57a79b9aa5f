"""``python -m ppkd COMMAND ...``, the same as ``ppkd COMMAND ...``."""

import sys

from ppkd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

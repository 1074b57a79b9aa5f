# Makes the virtual environment .venv of this clone and installs a pinned requirements file into it.
#   . tools/venv.sh requirements.txt      (from the root of the clone; afterwards `python` is the environment's)
# Installs nothing when the same pins are installed already.

find_python() {
    for candidate in python3.11 python3.12 python3.13 python3; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "ppkd needs Python 3.11, 3.12 or 3.13 on the PATH" >&2
    return 1
}

pins="$(cat requirements*.txt | cksum) $1"
if [ ! -f .venv/pins ] || [ "$(cat .venv/pins)" != "$pins" ]; then
    interpreter="$(find_python)"
    echo "Installing $1 into .venv"
    "$interpreter" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$1"
    echo "$pins" > .venv/pins
fi
. .venv/bin/activate

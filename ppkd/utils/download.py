"""Files by URL: downloaded once into PaddleDetection's cache, checked, and never left half written."""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urldefrag, urlsplit

from ppkd.utils.errors import DataError, PPKDError, WeightsError
from ppkd.utils.logger import get_logger
from ppkd.utils.progress import Bar, progress

Cache = Literal["weights", "dataset"]
CACHE_VARIABLE = "PPKD_CACHE"

_ERRORS: dict[Cache, type[PPKDError]] = {"weights": WeightsError, "dataset": DataError}
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
_CHECKSUM = re.compile(r"(sha256|md5)[:=]([0-9a-fA-F]+)")
_RETRIES = 2
_CHUNK = 1 << 20
_TIMEOUT = 30.0
_START = 40
_LONGEST_HEADER = 100_000_000  # as in the library safetensors

_log = get_logger(__name__)


def cache_folder(cache: Cache) -> Path:
    """``~/.cache/paddle/weights`` or ``.../dataset``; the variable PPKD_CACHE replaces ``~/.cache/paddle``."""
    root = os.environ.get(CACHE_VARIABLE)
    return (Path(root).expanduser() if root else Path.home() / ".cache" / "paddle") / cache


def fetch(source: str | os.PathLike[str], cache: Cache = "weights", checksum: str | None = None) -> Path:
    """The local file of a URL, downloaded if it is not in the cache; a local path is returned as it is.

    Args:
        source: ``http(s)://...`` (``ppdet://...`` means PaddleDetection's own server) or a path. A URL may end in
            ``#sha256=<hex>`` or ``#md5=<hex>``.
        cache: the folder of the cache.
        checksum: ``sha256:<hex>`` or ``md5:<hex>``; takes the place of the URL's.

    Files of PaddleDetection's servers keep their names, so its cache is shared. Others have a hash of the URL before
    the name, so that two ``model_final.pdparams`` are never confused.

    Raises:
        WeightsError: (DataError for data sets) the server refuses, the connection breaks off, or the checksum is
            another; nothing stays in the cache then.
    """
    text = os.fspath(source)
    failure = _ERRORS[cache]
    if not _SCHEME.match(text):
        path = Path(text).expanduser()
        if checksum is not None:
            _verify(path, _known_hash(checksum, text, failure), failure)
        return path
    url, fragment = urldefrag(text.replace("ppdet://", "https://paddledet.bj.bcebos.com/", 1))
    if urlsplit(url).scheme not in ("http", "https"):
        raise failure(f"{url}: only http(s) addresses and local paths can be fetched")
    known = _known_hash(checksum or fragment, text, failure)
    return _download(url, known, cache_folder(cache) / _cache_name(url, failure), failure)


def _known_hash(checksum: str, source: str, failure: type[PPKDError]) -> str | None:
    if not checksum:
        return None
    match = _CHECKSUM.fullmatch(checksum)
    if match is None:
        raise failure(f"{source}: '{checksum}' is no checksum; write sha256:<64 digits> or md5:<32 digits>")
    return f"{match[1]}:{match[2].lower()}"


def _cache_name(url: str, failure: type[PPKDError]) -> str:
    """The file's name in the cache: one plain name, whatever the address holds."""
    parts = urlsplit(url)
    name = unquote(parts.path.rsplit("/", 1)[-1])
    if not _SAFE_NAME.fullmatch(name):
        raise failure(f"{url}: '{name}' cannot be a file's name in the cache; download it yourself and give the path")
    if parts.hostname and parts.hostname.endswith(".bcebos.com"):
        return name
    return f"{hashlib.sha256(url.encode()).hexdigest()[:10]}-{name}"


def _verify(path: Path, known: str | None, failure: type[PPKDError]) -> None:
    import pooch

    if not path.is_file():
        raise failure(f"{path}: no such file")
    if not pooch.hashes.hash_matches(str(path), known):
        raise failure(f"{path}: its checksum is not {known}; the file is damaged or another one")


def _download(url: str, known: str | None, target: Path, failure: type[PPKDError]) -> Path:
    """Download to a temporary file beside ``target``, check it, rename it; a file that is there and checks is kept."""
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.ERROR)
    store = pooch.create(
        path=target.parent,
        base_url="",
        registry={target.name: known},
        urls={target.name: url},
        retry_if_failed=_RETRIES,
    )
    try:
        return Path(store.fetch(target.name, downloader=_Downloader(failure)))
    except requests.RequestException as error:
        raise failure(
            f"{url}: the download failed {_RETRIES + 1} times ({_reason(error)}); check the address and the network, "
            f"or download it yourself and give the path"
        ) from error
    except ValueError as error:
        raise failure(
            f"{url}: what was downloaded does not have the checksum {known}; nothing was kept. "
            "Correct the checksum, or do not use this file"
        ) from error
    except OSError as error:
        raise failure(f"{target}: cannot be written: {error.strerror or error}") from error


def _refuse_others(file: Path, url: str) -> None:
    """Raise :class:`WeightsError` for what is no weight file, such as the page of a server that wants a login.

    Weights begin with a pickle's mark and version or, in ``.safetensors``, with the length of a header in json.
    """
    with file.open("rb") as opened:
        start = opened.read(_START)
    pickled = start[:1] == pickle.PROTO and start[1:2] <= bytes([pickle.HIGHEST_PROTOCOL])
    if pickled or (start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _LONGEST_HEADER):
        return
    raise WeightsError(
        f"{url}: what the server answers is no weight file, it begins with {start!r}; nothing was kept. Check the "
        "address, or download the file yourself and give the path"
    )


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: requests and urllib3 wrap it several times."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    return " ".join(str(getattr(error, "reason", None) or error).split())


class _Downloader:
    """pooch's HTTP downloader with ppkd's progress, which does not repeat a request that the server refuses."""

    def __init__(self, failure: type[PPKDError]) -> None:
        self._failure = failure

    def __call__(self, url: str, output_file: str, store: Any) -> None:
        import requests
        from pooch import HTTPDownloader

        _log.info("Downloading %s", url)
        with _Meter(url.rsplit("/", 1)[-1]) as meter:
            try:
                HTTPDownloader(progressbar=meter, chunk_size=_CHUNK, timeout=_TIMEOUT)(url, output_file, store)
            except requests.HTTPError as error:
                answer = error.response
                if answer is None or answer.status_code >= 500:
                    raise
                raise self._failure(
                    f"{url}: the server answers {answer.status_code} ({answer.reason}); check the address"
                ) from error
        if self._failure is WeightsError:
            _refuse_others(Path(output_file), url)


class _Meter(ExitStack):
    """ppkd's progress bar, in mebibytes, with the interface that pooch reports to."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self._size = 0
        self._bar: Bar | None = None

    @property
    def total(self) -> int:
        """Bytes expected, 0 if the server does not say; setting it opens the bar."""
        return self._size

    @total.setter
    def total(self, size: int) -> None:
        self._size = size
        self._bar = self.enter_context(progress(f"{self._name} (MiB)", -(-size // _CHUNK) or None, interval=10.0))

    def update(self, amount: int) -> None:
        """Count a chunk that has come."""
        # pooch's last call repeats the whole size; it adds nothing.
        if self._bar is not None and amount == _CHUNK:
            self._bar.advance()

    def reset(self) -> None:
        """Forget the bar before pooch's final call."""
        self._bar = None

import hashlib
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ppkd.utils.download import cache_folder, fetch
from ppkd.utils.errors import DataError, WeightsError

CONTENT = b"\x80\x04" + bytes(range(256)) * 9000  # begins as weights do; more than two chunks


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hits = Counter()
        self.cut_first = 0

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.split("?")[0].rsplit("/", 1)[-1]
        self.server.hits[name] += 1
        if name.startswith("missing"):
            self.send_error(404)
            return
        if name.startswith("busy"):
            self.send_error(503)
            return
        cut = name.startswith("cut") or (name.startswith("flaky") and self.server.hits[name] == 1)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2] if cut else CONTENT)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PPKD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    return tmp_path / "cache" / "weights"


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_is_downloaded_once(server, cache):
    url = server.url("a/model.pdparams")
    first = fetch(url)
    assert first.read_bytes() == CONTENT
    assert first.parent == cache
    assert first.suffix == ".pdparams"
    assert fetch(url) == first
    assert server.hits["model.pdparams"] == 1
    assert files(cache) == [first]


def test_two_addresses_with_one_name_are_two_files(server):
    assert fetch(server.url("a/model_final.pdparams")) != fetch(server.url("b/model_final.pdparams"))


def test_a_file_of_paddle_is_taken_from_its_own_cache(cache):
    cache.mkdir(parents=True)
    (cache / "yolov3.pdparams").write_bytes(b"cached by another toolkit")
    assert fetch("https://paddledet.bj.bcebos.com/models/yolov3.pdparams") == cache / "yolov3.pdparams"
    assert fetch("ppdet://models/yolov3.pdparams") == cache / "yolov3.pdparams"


@pytest.mark.parametrize("form", ["{url}#sha256={sha}", "{url}#md5={md5}"])
def test_the_checksum_of_the_address_is_verified(server, cache, form):
    sums = {"sha": hashlib.sha256(CONTENT).hexdigest(), "md5": hashlib.md5(CONTENT).hexdigest()}
    assert fetch(form.format(url=server.url("m.pdparams"), **sums)).read_bytes() == CONTENT
    wrong = form.format(url=server.url("other.pdparams"), **{key: "0" * len(value) for key, value in sums.items()})
    with pytest.raises(WeightsError, match=r"other\.pdparams.*checksum"):
        fetch(wrong)
    assert len(files(cache)) == 1


def test_a_damaged_cached_file_is_downloaded_again(server):
    url = server.url("m.pdparams")
    checksum = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    file = fetch(url, checksum=checksum)
    file.write_bytes(CONTENT[:100])
    assert fetch(url, checksum=checksum).read_bytes() == CONTENT
    assert server.hits["m.pdparams"] == 2


def test_an_interrupted_download_leaves_nothing(server, cache):
    with pytest.raises(WeightsError, match=r"cut\.pdparams.*failed 3 times.*network"):
        fetch(server.url("cut.pdparams"))
    assert files(cache) == []


def test_an_interruption_is_tried_again(server):
    assert fetch(server.url("flaky.pdparams")).read_bytes() == CONTENT
    assert server.hits["flaky.pdparams"] == 2


def test_what_the_server_denies_is_not_asked_again(server, cache):
    with pytest.raises(WeightsError, match=r"missing\.pdparams.*404"):
        fetch(server.url("missing.pdparams"))
    assert server.hits["missing.pdparams"] == 1
    assert files(cache) == []


def test_a_busy_server_is_asked_again(server):
    with pytest.raises(WeightsError, match="503"):
        fetch(server.url("busy.pdparams"))
    assert server.hits["busy.pdparams"] == 3


def test_a_refused_connection_names_the_address(server):
    url = server.url("m.pdparams")
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match=r"m\.pdparams.*[Rr]efused"):
        fetch(url)


@pytest.mark.parametrize("path", ["", "a/", "..", "a/%2e%2e", "x%2f..%2f..%2fevil", ".hidden", "a%00b", "a%5Cb"])
def test_an_address_cannot_choose_a_path(server, tmp_path, path):
    with pytest.raises(WeightsError, match="cannot be a file's name"):
        fetch(server.url(path))
    assert files(tmp_path) == []


def test_a_data_set_has_its_own_cache_and_error(server, cache):
    assert fetch(server.url("set.zip"), "dataset").parent == cache.parent / "dataset"
    with pytest.raises(DataError, match="404"):
        fetch(server.url("missing.zip"), "dataset")


def test_a_local_path_is_itself(tmp_path):
    file = tmp_path / "m.pdparams"
    file.write_bytes(CONTENT)
    assert fetch(file) == file
    assert fetch(str(tmp_path / "not_there_yet")) == tmp_path / "not_there_yet"
    assert fetch(file, checksum=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}") == file
    with pytest.raises(WeightsError, match="checksum"):
        fetch(file, checksum="md5:" + "0" * 32)


@pytest.mark.parametrize("source", ["ftp://host/m.pdparams", "file:///etc/passwd"])
def test_other_schemes_are_named_as_such(source):
    with pytest.raises(WeightsError, match="only http"):
        fetch(source)


def test_a_malformed_checksum_is_an_error(server):
    with pytest.raises(WeightsError, match="no checksum"):
        fetch(server.url("m.pdparams"), checksum="12345")


def test_the_default_cache_is_paddles(monkeypatch):
    monkeypatch.delenv("PPKD_CACHE")
    assert cache_folder("weights") == Path.home() / ".cache/paddle/weights"

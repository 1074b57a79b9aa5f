import errno
import hashlib
import os
import pickle
import struct
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddle import nn

import ppkd
from ppkd.utils import atomic
from ppkd.utils.errors import WeightsError
from ppkd.utils.serialization import digest, read_pickle, read_weights, write_state, write_weights

STATE = {
    "conv.weight": np.arange(24, dtype="float32").reshape(2, 3, 4),
    "bn._mean": np.array([1.5, -2.0], "float64"),
    "count": np.array(7, "int64"),
    "empty": np.zeros((0, 4), "float32"),
    "mask": np.array([True, False]),
}


class Runs:
    def __reduce__(self):
        return os.mkdir, ("hidden_code_ran",)


def equal(left, right):
    assert list(left) == list(right)
    for name in right:
        assert left[name].dtype == right[name].dtype
        assert left[name].shape == right[name].shape
        np.testing.assert_array_equal(left[name], right[name])


def put(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read_bit_equal(tmp_path, protocol):
    equal(read_pickle(put(tmp_path / "m.pdparams", pickle.dumps(STATE, protocol))), STATE)


def test_arrays_of_other_layouts_are_read(tmp_path):
    state = {"fortran": np.asfortranarray(STATE["conv.weight"]), "big": np.arange(5, dtype=">f4")}
    have = read_pickle(put(tmp_path / "m.pdparams", pickle.dumps(state)))
    np.testing.assert_array_equal(have["fortran"], state["fortran"])
    np.testing.assert_array_equal(have["big"], state["big"])
    assert have["big"].dtype == np.dtype("float32")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_what_paddle_saves_is_read(tmp_path, protocol):
    net = nn.Sequential(nn.Conv2D(3, 4, 3), nn.BatchNorm2D(4))
    paddle.save(net.state_dict(), str(tmp_path / "m.pdparams"), protocol=protocol)
    equal(read_weights(tmp_path / "m"), {name: value.numpy() for name, value in net.state_dict().items()})


def test_mixed_and_nested_containers_of_paddle_are_read(tmp_path):
    state = {"epoch": 3, "nested": {"ema": [paddle.ones([2])]}, "w": paddle.zeros([3])}
    paddle.save(state, str(tmp_path / "m.pdopt"))
    have = read_pickle(tmp_path / "m.pdopt")
    assert have["epoch"] == 3
    np.testing.assert_array_equal(have["nested"]["ema"][0][1], [1, 1])
    np.testing.assert_array_equal(have["w"][1], [0, 0, 0])


def test_code_hidden_in_a_file_is_refused_and_does_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = put(tmp_path / "m.pdparams", pickle.dumps({"w": STATE["count"], "x": Runs()}))
    with pytest.raises(WeightsError, match=r"m\.pdparams.*mkdir"):
        read_weights(file)
    assert not (tmp_path / "hidden_code_ran").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"cbuiltins\neval\n(V1+1\ntR.",
        b"cnumpy\nload\n(Vx\ntR.",
        b"cbuiltins\ngetattr\n(cnumpy\nndarray\nVtofile\ntR.",
        b"cppkd.utils.unpickler\n_Admitted\n(cnumpy\nload\ntR.",
        b"cnumpy\nndarray\n((I3\ntVf4\ntR.",
        b"cnumpy\ndtype\n(VO\ntR.",
        b"cnumpy\ndtype\n}V__slots__\nI1\nsb.",
        b"cnumpy.core.multiarray\n_reconstruct\n(NN}V_build\nI1\nstb.",
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"}V__class__\nNsP0\n.",
        pickle.dumps({"o": np.array([{}], dtype=object)}),
        pickle.dumps({"v": np.zeros(2, dtype=[("a", "f4")])}),
        pickle.dumps({1: {2, 3}}),
        pickle.dumps({"f": len}),
    ],
)
def test_everything_but_arrays_and_plain_containers_is_refused(tmp_path, content):
    with pytest.raises(WeightsError, match=r"m\.pdparams"):
        read_pickle(put(tmp_path / "m.pdparams", content))


def test_a_refused_file_leaves_the_reader_as_it_was(tmp_path):
    attack = b"cnumpy.core.multiarray\n_reconstruct\n}V_build\nI1\nsb."
    with pytest.raises(WeightsError):
        read_pickle(put(tmp_path / "a.pdparams", attack))
    equal(read_pickle(put(tmp_path / "m.pdparams", pickle.dumps(STATE))), STATE)


def test_an_array_cannot_claim_more_than_its_bytes(tmp_path):
    content = pickle.dumps({"w": np.zeros(3, "float32")}, 2).replace(b"K\x03\x85", b"K\x7f\x85")
    with pytest.raises(WeightsError, match="damaged"):
        read_pickle(put(tmp_path / "m.pdparams", content))


def test_shared_containers_do_not_blow_up(tmp_path):
    nested = [1]
    for _ in range(60):
        nested = [nested, nested]
    assert len(read_pickle(put(tmp_path / "m.pdstates", pickle.dumps({"x": nested})))["x"]) == 2


@pytest.mark.parametrize("suffix", [".pdparams", ".safetensors"])
def test_every_truncation_is_an_error(tmp_path, suffix):
    write_weights(tmp_path / f"m{suffix}", STATE)
    content = (tmp_path / f"m{suffix}").read_bytes()
    for length in [*range(0, len(content), 37), len(content) - 1]:
        with pytest.raises(WeightsError, match=rf"cut\{suffix}"):
            read_weights(put(tmp_path / f"cut{suffix}", content[:length]))


@pytest.mark.parametrize("content", [pickle.dumps([1, 2]), pickle.dumps(STATE["count"])])
def test_a_pickle_of_no_dict_says_what_it_holds(tmp_path, content):
    with pytest.raises(WeightsError, match="expected a dict"):
        read_pickle(put(tmp_path / "m.pdparams", content))


def test_an_optimizers_file_is_no_weights(tmp_path):
    write_state(tmp_path / "m.pdopt", {"w": STATE["count"], "LR_Scheduler": {"last_epoch": 3}})
    with pytest.raises(WeightsError, match=r"'LR_Scheduler' is a dict.*optimizer"):
        read_weights(tmp_path / "m.pdopt")


def test_a_missing_file_names_the_nearest(tmp_path):
    write_weights(tmp_path / "model_final.pdparams", STATE)
    with pytest.raises(WeightsError, match=r"model_fnal.*did you mean 'model_final\.pdparams'"):
        read_weights(tmp_path / "model_fnal")
    with pytest.raises(WeightsError, match=r"folder .* does not exist"):
        read_weights(tmp_path / "absent" / "m")


def test_a_dot_in_the_name_is_no_extension(tmp_path):
    write_weights(tmp_path / "v1.0.pdparams", STATE)
    equal(read_weights(tmp_path / "v1.0"), STATE)


@pytest.mark.parametrize("suffix", [".pdparams", ".safetensors"])
def test_what_is_written_is_read_back(tmp_path, suffix):
    write_weights(tmp_path / "new" / f"m{suffix}", STATE | {"t": paddle.ones([2])})
    have = read_weights(tmp_path / "new" / "m")
    equal({name: have[name] for name in STATE}, STATE)
    np.testing.assert_array_equal(have["t"], [1, 1])


def test_paddle_loads_what_is_written(tmp_path):
    net = nn.Linear(3, 2)
    write_weights(tmp_path / "m.pdparams", net.state_dict())
    loaded = paddle.load(str(tmp_path / "m.pdparams"))
    other = nn.Linear(3, 2)
    assert other.set_state_dict(loaded) == ([], [])
    np.testing.assert_array_equal(other.weight.numpy(), net.weight.numpy())


def test_numpy_1_can_load_what_is_written(tmp_path):
    write_weights(tmp_path / "m.pdparams", STATE)
    content = (tmp_path / "m.pdparams").read_bytes()
    assert b"numpy.core.multiarray" in content
    assert b"numpy._core" not in content
    equal(pickle.loads(content), STATE)


def test_bfloat16_is_written_as_float32(tmp_path):
    values = paddle.to_tensor([1.5, -3.0, 1024.0])
    for suffix in (".pdparams", ".safetensors"):
        write_weights(tmp_path / f"m{suffix}", {"w": values.astype("bfloat16")})
        have = read_weights(tmp_path / f"m{suffix}")["w"]
        assert have.dtype == np.float32
        np.testing.assert_array_equal(have, values.numpy())


def test_a_bfloat16_safetensors_file_gives_bits(tmp_path):
    header = b'{"w":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
    content = struct.pack("<Q", len(header)) + header + b"\x80\x3f\x00\x40"
    have = read_weights(put(tmp_path / "m.safetensors", content))["w"]
    np.testing.assert_array_equal((have.astype("uint32") << 16).view("float32"), [1.0, 2.0])


def test_training_state_of_plain_containers_is_kept(tmp_path):
    state = {
        "epoch": 3,
        "lr": np.float32(0.5),
        "rng": [("cpu", [1, 2]), (None, b"raw", True)],
        "ema": OrderedDict(w=STATE["bn._mean"]),
        "best": {1: 2.5},
    }
    write_state(tmp_path / "m.pdstates", state)
    have = read_pickle(tmp_path / "m.pdstates")
    np.testing.assert_array_equal(have.pop("ema")["w"], state.pop("ema")["w"])
    assert have == state


def test_state_that_could_not_be_read_again_is_not_written(tmp_path):
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a set"):
        write_state(tmp_path / "m.pdstates", {"a": [1, {2}]})
    assert list(tmp_path.iterdir()) == []


class _Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file):
        self._file = file

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self._file.close()

    def write(self, data):
        self._file.write(bytes(data)[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["m.pdparams", "m.safetensors"])
def test_a_full_disk_leaves_the_previous_file(tmp_path, monkeypatch, name):
    write_weights(tmp_path / name, STATE)
    before = digest(tmp_path / name)
    opened = atomic.Path.open
    monkeypatch.setattr(atomic.Path, "open", lambda self, *args: _Full(opened(self, *args)))
    with pytest.raises(WeightsError, match=rf"{name}.*No space left.*previous file is untouched"):
        write_weights(tmp_path / name, {"w": np.ones(1000, "float32")})
    monkeypatch.undo()
    assert digest(tmp_path / name) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_interrupt_while_writing_leaves_the_previous_file(tmp_path):
    file = put(tmp_path / "m.bin", b"previous")
    with pytest.raises(KeyboardInterrupt), atomic.atomic_open(file) as out:
        out.write(b"half")
        raise KeyboardInterrupt
    assert file.read_bytes() == b"previous"
    assert list(tmp_path.iterdir()) == [file]


def test_a_killed_process_leaves_the_previous_file(tmp_path):
    file = put(tmp_path / "m.bin", b"previous")
    code = (
        "import os, sys; from ppkd.utils.atomic import atomic_open\n"
        "with atomic_open(sys.argv[1]) as out:\n    out.write(b'half'); out.flush(); os._exit(9)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(ppkd.__file__).parents[1])}
    assert subprocess.run([sys.executable, "-c", code, str(file)], env=environment).returncode == 9
    assert file.read_bytes() == b"previous"


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    put(tmp_path / "file", b"")
    with pytest.raises(WeightsError, match="cannot write"):
        write_weights(tmp_path / "file" / "m.pdparams", STATE)


def test_digest_is_sha256(tmp_path):
    assert digest(put(tmp_path / "m", b"abc")) == hashlib.sha256(b"abc").hexdigest()

"""Files that attack end in UnsafeCheckpoint or CorruptCheckpoint, having run nothing."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import re
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from tests.zoo.checkpoint.conftest import save
from zoo.checkpoint import read
from zoo.checkpoint.formats.torch_legacy import MAGIC, PROTOCOL
from zoo.checkpoint.inspect import inspect
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

REFUSED = (UnsafeCheckpoint, CorruptCheckpoint)
INFO = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def attacks(marker):
    """Name -> object whose unpickling would leave `marker` behind, or worse."""
    touch = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w').close()"
    return {
        "os.system": Call(os.system, touch),
        "subprocess": Call(subprocess.check_call, ["touch", str(marker)]),
        "eval": Call(builtins.eval, code),
        "exec": Call(builtins.exec, code),
        "import": Call(builtins.__import__, "antigravity"),
        "getattr": Call(getattr, "text", "upper"),
        "open": Call(builtins.open, str(marker), "w"),
        "nested pickle": Call(pickle.loads, pickle.dumps(Call(os.system, touch))),
        "torch's nested pickle": Call(torch.storage._load_from_bytes, pickle.dumps(Call(os.system, touch))),
        "torch.load": Call(torch.load, "/etc/passwd"),
        "numpy.load": Call(np.load, "/etc/passwd"),
        "runpy": Call(__import__("runpy").run_path, "/etc/passwd"),
        "operator": Call(__import__("operator").attrgetter("x")),
        "compile": Call(compile, code, "x", "exec"),
        "functools": Call(__import__("functools").partial, os.system, touch),
        "code in a class": Call(type, "X", (), {}),
    }


def wrap(content, container, path):
    """A file of some format around an object."""
    if container == "pkl":
        path.write_bytes(pickle.dumps(content, 2))
    elif container == "legacy":
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, INFO, content, [])))
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", pickle.dumps(content, 2))
            archive.writestr("x/version", "3\n")
    return path


@pytest.mark.parametrize("container", ["pkl", "legacy", "zip"])
@pytest.mark.parametrize("attack", attacks("/nowhere"))
@pytest.mark.parametrize("place", ["root", "state_dict", "meta"])
def test_nothing_in_a_checkpoint_is_ever_run(attack, container, place, tmp_path):
    marker = tmp_path / "ran"
    evil = attacks(marker)[attack]
    content = {"root": evil, "state_dict": {"state_dict": {"a": evil}}, "meta": {"state_dict": {}, "meta": {"x": evil}}}
    path = wrap(content[place], container, tmp_path / "x.pth")
    for function in (read, inspect):
        with pytest.raises(REFUSED):
            function(path)
    assert not marker.exists() and "antigravity" not in sys.modules


def test_a_second_pickle_behind_the_first_is_seen(tmp_path):
    path = wrap({"model": {"w": np.zeros(2)}}, "pkl", tmp_path / "x.pkl")
    path.write_bytes(path.read_bytes() + pickle.dumps(Call(os.system, f"touch {tmp_path}/ran")))
    with pytest.raises(CorruptCheckpoint, match="behind its pickle"):
        read(path)


@pytest.mark.parametrize("index", range(5))
def test_every_one_of_the_legacy_pickles_is_restricted(index, tmp_path):
    parts = [MAGIC, PROTOCOL, INFO, {"state_dict": {}}, []]
    parts[index] = Call(os.system, f"touch {tmp_path}/ran") if index else MAGIC
    data = b"".join(pickle.dumps(part, 2) for part in parts)
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(REFUSED):
        read(tmp_path / "x.pth")
    assert not (tmp_path / "ran").exists()


def test_bytes_behind_the_last_tensor_are_refused(saved):
    path, kind = saved
    if kind == "legacy":
        path.write_bytes(path.read_bytes() + b"more")
        with pytest.raises(CorruptCheckpoint, match="4 bytes behind"):
            read(path)


def test_numpy_arrays_of_objects_are_refused(tmp_path):
    array = np.array([Call(os.system, f"touch {tmp_path}/ran")], dtype=object)
    path = wrap({"model": {"a": array, "b": np.zeros(1)}}, "pkl", tmp_path / "x.pkl")
    with pytest.raises(UnsafeCheckpoint):
        read(path)
    harmless = wrap({"model": {"a": np.array([1, "x"], dtype=object)}}, "pkl", tmp_path / "y.pkl")
    with pytest.raises(UnsafeCheckpoint, match="array of objects"):
        read(harmless)


@pytest.mark.parametrize("kind", ["legacy", "zip"])
def test_a_truncated_file_is_corrupt_wherever_it_ends(kind, state, tmp_path):
    data = save(state, tmp_path / "x.pth", kind).read_bytes()
    for end in [0, 1, 3, 10, 100, *range(200, len(data), max(1, len(data) // 60)), len(data) - 1]:
        (tmp_path / "cut.pth").write_bytes(data[:end])
        with pytest.raises(REFUSED):
            read(tmp_path / "cut.pth")


def test_big_endian_files_are_refused(state, tmp_path):
    legacy = save(state, tmp_path / "x.pth", "legacy")
    swapped, count = re.subn(
        rb"(little_endianq.)\x88", lambda result: result[1] + b"\x89", legacy.read_bytes(), flags=re.DOTALL
    )
    assert count == 1
    legacy.write_bytes(swapped)
    with pytest.raises(CorruptCheckpoint, match="little-endian"):
        read(legacy)
    arrays = wrap({"model": {"a": np.zeros(2, ">f4")}}, "pkl", tmp_path / "x.pkl")
    with pytest.raises(CorruptCheckpoint, match="big-endian"):
        read(arrays)
    rewritten = rezip(save(state, tmp_path / "y.pth", "zip"), lambda n, d: b"big" if n.endswith("byteorder") else d)
    with pytest.raises(CorruptCheckpoint, match="little-endian"):
        read(rewritten)


def rezip(path, change, names=lambda name: name, compression=zipfile.ZIP_STORED):
    """The archive with its entries changed."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(names(name), change(name, data))
    return path


ARCHIVES = {
    "a name that climbs out": lambda p: rezip(p, keep, lambda n: n.replace("x/data/0", "x/data/../../../0")),
    "an absolute name": lambda p: rezip(p, keep, lambda n: "/etc/x" if n == "x/data/0" else n),
    "a compressed entry": lambda p: rezip(p, keep, compression=zipfile.ZIP_DEFLATED),
    "storage of another size": lambda p: rezip(p, lambda n, d: d + b"x" if n.endswith("data/0") else d),
    "missing storage": lambda p: rezip(p, keep, lambda n: n.replace("data/0", "data/none")),
    "no pickle": lambda p: rezip(p, keep, lambda n: n.replace("data.pkl", "other.pkl")),
    "two pickles": lambda p: add(p, "y/data.pkl", b"N."),
    "a script": lambda p: add(p, "x/code/__torch__.py", b"pass"),
    "the same name twice": lambda p: add(p, "x/data.pkl", b"N.", twice=True),
    "a second pickle": lambda p: rezip(p, lambda n, d: d + b"N." if n.endswith("data.pkl") else d),
}


def keep(name, data):
    return data


def add(path, name, data, twice=False):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("attack", ARCHIVES)
def test_archives_that_are_not_what_torch_writes_are_refused(attack, state, tmp_path):
    path = save(state, tmp_path / "x.pth", "zip")
    with pytest.raises(REFUSED):
        read(ARCHIVES[attack](path))


def test_a_zip_bomb_is_refused_without_being_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", bytes(200 * 2**20))
    with pytest.raises(UnsafeCheckpoint, match="compressed"):
        read(tmp_path / "x.pth")


def test_overlapping_zip_entries_are_refused(state, tmp_path):
    path = save(state, tmp_path / "x.pth", "zip")
    data = bytearray(path.read_bytes())
    directory = [at for at in range(len(data)) if data[at : at + 4] == b"PK\x01\x02"]
    first = struct.unpack_from("<I", data, directory[0] + 42)[0]
    for entry in directory:
        if b"data/1" in data[entry : entry + 100]:
            struct.pack_into("<I", data, entry + 42, first)
    path.write_bytes(data)
    with pytest.raises(REFUSED):
        read(path)


def test_damaged_tensor_data_are_noticed_in_a_zip(state, tmp_path):
    path = save(state, tmp_path / "x.pth", "zip")
    content = path.read_bytes()
    needle = state["backbone.conv1.weight"].numpy().tobytes()
    assert needle in content
    path.write_bytes(content.replace(needle, bytes([needle[0] ^ 1]) + needle[1:]))
    with pytest.raises(CorruptCheckpoint, match="CRC-32"):
        read(path)


def storage(key="0", numel=4, kind="FloatStorage"):
    return (
        b"(X\x07\x00\x00\x00storagectorch\n"
        + kind.encode()
        + b"\nX\x01\x00\x00\x00"
        + key.encode()
        + (b"X\x03\x00\x00\x00cpuJ" + struct.pack("<i", numel) + b"tQ")
    )


def tensor(offset=0, shape=(4,), strides=(1,), **which):
    numbers = lambda values: b"(" + b"".join(b"J" + struct.pack("<i", v) for v in values) + b"t"  # noqa: E731
    data = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(**which) + b"J" + struct.pack("<i", offset)
    return data + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)RtR"


def archive(path, *tensors, size=16):
    items = b"".join(b"X\x01\x00\x00\x00" + bytes([97 + i]) + item + b"s" for i, item in enumerate(tensors))
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", b"\x80\x02}X\x05\x00\x00\x00model}" + items + b"s.")
        file.writestr("x/data/0", bytes(size))
    return path


WINDOWS = {
    "beyond the end": tensor(shape=(5,)),
    "offset beyond the end": tensor(offset=1),
    "negative offset": tensor(offset=-1),
    "negative size": tensor(shape=(-4,)),
    "negative stride": tensor(strides=(-1,)),
    "stride beyond the end": tensor(shape=(2, 2), strides=(3, 1)),
    "one element repeated a million times": tensor(shape=(1000, 1000), strides=(0, 0)),
    "shape and strides of different length": tensor(shape=(2, 2), strides=(1,)),
    "huge shape": tensor(shape=(2**31 - 1, 2**31 - 1, 2**31 - 1), strides=(0, 0, 0)),
    "storage larger than its data": tensor(numel=5),
    "negative storage": tensor(numel=-4),
    "unknown storage type": tensor(kind="EvilStorage"),
    "storage of another size": tensor(kind="DoubleStorage"),
}


def test_the_hand_made_archive_is_otherwise_right(tmp_path):
    assert torch.equal(read(archive(tmp_path / "x.pth", tensor())).state_dict["a"], torch.zeros(4))


@pytest.mark.parametrize("window", WINDOWS)
def test_a_tensor_never_leaves_its_storage(window, tmp_path):
    with pytest.raises(CorruptCheckpoint):
        read(archive(tmp_path / "x.pth", WINDOWS[window]))


def test_one_storage_of_two_kinds_is_refused(tmp_path):
    with pytest.raises(CorruptCheckpoint, match="two different ways"):
        read(archive(tmp_path / "x.pth", tensor(), tensor(kind="IntStorage")))


def test_legacy_storages_that_exceed_the_file_are_refused(tmp_path):
    content = b"\x80\x02}X\x05\x00\x00\x00model}X\x01\x00\x00\x00a" + tensor(numel=2**30) + b"ss."
    head = b"".join(pickle.dumps(part, 2) for part in (MAGIC, PROTOCOL, INFO))
    path = tmp_path / "x.pth"
    path.write_bytes(head + content + pickle.dumps(["0"], 2) + struct.pack("<q", 2**30) + bytes(16))
    with pytest.raises(CorruptCheckpoint, match="truncated"):
        read(path)


def laugh(n):
    """A list that holds the list before it ten times."""
    return b"]q" + bytes([n]) + b"(" + (b"h" + bytes([n - 1])) * 10 + b"e"


BOMBS = {
    "nested lists": b"]" * 100_000 + b"a" * 99_999 + b".",
    "nested tuples": b")" + b"\x85" * 100_000 + b".",
    "a nested tuple as a key": b"}" + b")" + b"\x85" * 100_000 + b"Ns.",
    "nested dictionaries": b"}" + b"N}" * 50_000 + b"s" * 50_000 + b".",
    "a list that contains itself": b"]q\x00h\x00a.",
    "a billion laughs": b"]q\x00" + b"".join(laugh(n) for n in range(1, 30)) + b".",
    "a type whose text explodes": b"]q\x00" + b"".join(laugh(n) for n in range(1, 30)) + b"\x85cnumpy\ndtype\nq\xf0"
    b"0h\xf0h\x1d\x85R.",
    "endless instructions": b"N0" * 5_000_000 + b"N.",
    "a huge string length": b"\x8d" + struct.pack("<Q", 2**62) + b"x",
    "a negative length": b"\x8b" + struct.pack("<i", -5) + b"x.",
    "a huge integer": b"\x8b" + struct.pack("<i", 100_000) + bytes(100_000) + b".",
    "a huge decimal": b"I" + b"9" * 60_000 + b"\n.",
    "a huge memo index": b"Nr\xff\xff\xff\xff0j\xfe\xff\xff\xff.",
    "an extension": b"\x82\x01.",
    "an out-of-band buffer": b"\x97.",
    "an unknown protocol": b"\x80\x09N.",
    "an unmatched mark": b"e.",
    "an empty stack": b".",
    "copies of copies": b"(" + b"N" * 300_000 + b"tq\x000" + b"c__builtin__\nlist\n(h\x00tR0" * 20_000 + b"N.",
    "no stop": b"\x80\x02N",
    "a call of a number": b"K\x01)R.",
    "state of a list": b"]Nb.",
    "items of a list": b"]NNs.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused(bomb, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(BOMBS[bomb])
    with pytest.raises(REFUSED):
        read(path)


SAFETENSORS = {
    "header beyond the end": struct.pack("<Q", 1000) + b"{}",
    "huge header": struct.pack("<Q", 2**62) + b"{}",
    "no table": struct.pack("<Q", 10) + b"{         ",
    "overlap": b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
    b'"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
    "gap": b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}',
    "wrong length": b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}',
    "beyond the end": b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}',
    "negative": b'{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,-8]}}',
    "unknown type": b'{"a":{"dtype":"X","shape":[2],"data_offsets":[0,8]}}',
    "deep header": b'{"a":' + b"[" * 100_000,
}


@pytest.mark.parametrize("attack", SAFETENSORS)
def test_broken_safetensors_are_refused(attack, tmp_path):
    data = SAFETENSORS[attack]
    if data[:1] == b"{":
        data = struct.pack("<Q", len(data)) + data + bytes(12)
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(REFUSED):
        read(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "content", [b"", b"<html><body>404</body></html>", b"hello", bytes(1000), b"PK\x03\x04" + bytes(40)]
)
def test_files_that_are_no_checkpoints_say_so(content, tmp_path):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(REFUSED, match=r"x\.pth") as error:
        read(tmp_path / "x.pth")
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_sentences(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(CorruptCheckpoint, match=r"cannot be read|is not a regular file"):
            read(path)


def test_torchs_own_pickles_of_whole_modules_are_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save(torch.nn.Linear(2, 2), buffer)
    (tmp_path / "x.pth").write_bytes(buffer.getvalue())
    with pytest.raises(REFUSED):
        read(tmp_path / "x.pth")

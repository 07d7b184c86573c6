"""Small files that would become huge, or take for ever, when what they share is copied: refused, and in no time."""

from __future__ import annotations

import json
import resource
import struct
import zipfile

import pytest

from zoo.checkpoint import read
from zoo.checkpoint.inspect import inspect
from zoo.checkpoint.pickle_reader import limits
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

REFUSED = (UnsafeCheckpoint, CorruptCheckpoint)
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n)R(K\x01(J%btcnumpy\ndtype\nU\x02u1\x85R\x89B%b%btb"


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value


def put(index):
    return b"r" + struct.pack("<I", index) + b"0"


def get(index):
    return b"j" + struct.pack("<I", index)


def array(size):
    """A numpy array of that many bytes."""
    return ARRAY % (struct.pack("<i", size), struct.pack("<I", size), bytes(size))


def beside(meta):
    """A state dict of one small array, and this metadata."""
    return (
        b"}(" + text(b"model") + b"}" + text(b"w") + array(4) + b"s" + text(b"meta") + b"}" + text(b"k") + meta + b"su"
    )


def often(value, count=50_000):
    """One value, and a list that names it again and again."""
    return value + put(9) + beside(b"](" + get(9) * count + b"e") + b"."


def colliding(count):
    """Pairs of numbers that have one hash, as CPython hashes tuples (xxHash)."""
    first, second, start, mask = 11400714785074694791, 14029467366897019727, 2870177450012600261, 2**64 - 1
    inverse, pairs, number = pow(second, -1, 2**64), [], 0
    while len(pairs) < count:
        number += 1
        mixed = (start + number * second) & mask
        mixed = ((mixed << 31 | mixed >> 33) * first) & mask
        other = ((12345 - mixed) * inverse) & mask
        if other < 2**61 - 1:
            pairs.append((number, other))
    return pairs


def keys(pairs):
    return b"".join(b"J" + struct.pack("<i", a) + b"\x8a\x08" + struct.pack("<q", b) + b"\x86" for a, b in pairs)


def laughing(value, levels=7):
    """Lists of ten lists of ten lists ... of one value."""
    inner = b"".join(b"](" + get(n) * 10 + b"e" + put(n + 1) for n in range(levels))
    return value + put(0) + inner + beside(get(levels)) + b"."


MANY = b"(" + b"N" * 100_000 + b"t" + put(1)
BOMBS = {
    "a name that grows": text(b"m" * 10_000_000)
    + put(1)
    + b"cmine\nX\n"
    + put(2)
    + (b"cbuiltins\ngetattr\n" + get(2) + get(1) + b"\x86R" + put(2)) * 1000
    + b"N.",
    "a long name, used again and again": text(b"m" * 10_000_000) + put(1) + (get(1) * 2 + b"\x93") * 5000 + b".",
    "calls with a long list of arguments": MANY + (b"cmine\nX\n" + get(1) + b"R0") * 50_000 + b"N.",
    "keywords behind a long list of arguments": MANY
    + (b"cmine\nX\n" + get(1) + b"}" + text(b"a") + b"Ns\x920") * 50_000
    + b"N.",
    "a text that is named again and again": often(text(b"t" * 5_000_000)),
    "bytes that are named again and again": often(b"B" + struct.pack("<I", 60_000) + bytes(60_000)),
    "a small array that is named again and again": often(array(64_000)),
    "a long list that is named again and again": often(b"(" + b"N" * 100_000 + b"l"),
    "laughter that ends in numbers": laughing(b"K\x01"),
    "laughter that ends in objects": laughing(b"cmine\nX\n)R"),
    "keys with one hash": b"}(" + b"N".join([keys([pair]) for pair in colliding(20_000)]) + b"Nu.",
    "a set of keys with one hash": b"\x8f(" + keys(colliding(20_000)) + b"\x90.",
    "one array under many names": array(2_000_000)
    + put(9)
    + b"}"
    + text(b"model")
    + b"}("
    + b"".join(text(b"n%d" % n) + get(9) for n in range(20_000))
    + b"us.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_what_a_file_shares_is_not_multiplied(bomb, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + BOMBS[bomb])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for function in (inspect, read):
        with pytest.raises(REFUSED):
            function(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 2**10  # KiB; most would take GB


def test_what_is_shared_in_metadata_stays_shared(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x04" + often(array(100), 3))
    first, second, third = read(path).meta["k"]
    assert first is second is third and first == [0] * 100


def test_calling_what_getattr_found_is_as_forbidden_as_calling_the_name(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02cbuiltins\ngetattr\nctorch\nhub\n" + text(b"load") + b"\x86R" + text(b"x") + b"\x85R.")
    with pytest.raises(UnsafeCheckpoint, match=r"torch\.hub\.load"):
        read(path)


def test_a_zip_directory_of_many_entries_is_not_even_parsed(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "x.pth", "w") as archive:
        for number in range(1000):
            archive.writestr(f"x/{number}", b"")
    monkeypatch.setattr(limits, "MAX_DIRECTORY_BYTES", 40_000)
    with pytest.raises(CorruptCheckpoint, match="directory of"):
        read(tmp_path / "x.pth")


HEADERS = {
    "deep metadata": '{"__metadata__":{"a":' + "[" * 500 + "]" * 500 + "}}",
    "deep metadata of ours": json.dumps({"__metadata__": {"zoo.meta": '{"a":' + "[" * 500 + "]" * 500 + "}"}}),
    "a name that it has twice": '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
    '"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}',
    "a huge number": '{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}}',
    "offsets that are text": '{"a":{"dtype":"F32","shape":[],"data_offsets":"04"}}',
}


@pytest.mark.parametrize("header", HEADERS)
def test_headers_of_safetensors_are_refused(header, tmp_path):
    data = HEADERS[header].encode()
    if '"a":{' not in HEADERS[header]:
        tensor = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
        data = tensor + data[1:]
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(data)) + data + bytes(4))
    for function in (inspect, read):
        with pytest.raises(CorruptCheckpoint):
            function(tmp_path / "x.safetensors")


def test_a_header_of_safetensors_in_another_encoding_is_refused(tmp_path):
    data = "{}".encode("utf-16-le")
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)
    with pytest.raises(CorruptCheckpoint, match="broken safetensors header"):
        read(tmp_path / "x.safetensors")

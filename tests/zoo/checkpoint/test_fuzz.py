"""Whatever bytes a file has, reading it ends in a value or in one of two errors, and runs nothing."""

from __future__ import annotations

import io
import pickle
import sys
from collections import OrderedDict
from contextlib import contextmanager

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zoo.checkpoint.formats.open import dispatch
from zoo.checkpoint.pickle_reader.opcodes import STEPS
from zoo.checkpoint.pickle_reader.reader import read_pickle
from zoo.checkpoint.state_dict import select
from zoo.checkpoint.tensors import load_tensors
from zoo.errors import CorruptCheckpoint, UnsafeCheckpoint

FUZZ = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
EVENTS = (
    "os.",
    "subprocess.",
    "exec",
    "compile",
    "import",
    "pickle.find_class",
    "open",
    "socket.",
    "ctypes.",
    "shutil.",
)


class Watch:
    """Notes what the interpreter is asked to do while `active`."""

    active = False
    seen: list[str] = []


def note(event, arguments):
    if Watch.active and event.startswith(EVENTS):
        Watch.seen.append(f"{event} {arguments!r:.200}")


@pytest.fixture(scope="module", autouse=True)
def audit():
    sys.addaudithook(note)  # cannot be removed, only told to be quiet
    yield


@contextmanager
def nothing_runs():
    """Fails if code was run, imported or compiled, or a file or socket opened."""
    Watch.seen.clear()
    Watch.active = True
    try:
        yield
    finally:
        Watch.active = False
    assert Watch.seen == []


def read_bytes(data, path):
    """Everything that reading a file does, after it was opened."""
    file = io.BytesIO(data)
    with nothing_runs():
        try:
            contents = dispatch(path, file, len(data))
            refs, _ = select(contents.root)
            load_tensors(contents, refs, file)
        except (UnsafeCheckpoint, CorruptCheckpoint):
            pass


def published(kind):
    buffer = io.BytesIO()
    state = OrderedDict({"a.weight": torch.randn(3, 4), "a.bias": torch.zeros(3), "n": torch.tensor(1)})
    content = {"meta": {"CLASSES": ("x", "y"), "epoch": 1}, "state_dict": state}
    torch.save(content, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


SEEDS = {kind: published(kind) for kind in ("legacy", "zip")}
SEEDS["pickle"] = pickle.dumps({"model": {"a": torch.zeros(3).numpy()}, "x": {1: [2.5, None, True, b"y"]}}, 2)


@pytest.fixture(scope="module", autouse=True)
def warm(tmp_path_factory):
    """Modules and text encodings that reading imports are imported before anything is watched."""
    for encoding in ("raw-unicode-escape", "cp437"):
        b"x".decode(encoding)
    for data in SEEDS.values():
        file = io.BytesIO(data)
        contents = dispatch(tmp_path_factory.mktemp("x") / "x.pkl", file, len(data))
        load_tensors(contents, select(contents.root)[0], file)


edits = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from(["set", "insert", "delete", "repeat"]), st.binary(max_size=6)
    ),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("seed", SEEDS)
@FUZZ
@given(changes=edits)
def test_damaged_files(seed, changes, tmp_path_factory):
    data = bytearray(SEEDS[seed])
    for where, what, piece in changes:
        at = int(where * len(data))
        if what == "set":
            data[at : at + len(piece)] = piece
        elif what == "insert":
            data[at:at] = piece
        elif what == "delete":
            del data[at : at + len(piece)]
        else:
            data[at:at] = data[at : at + 40]
    read_bytes(bytes(data), tmp_path_factory.getbasetemp() / "x.pkl")


NAMES = "os.system builtins.eval builtins.getattr builtins.set collections.OrderedDict torch._utils._rebuild_tensor_v2 "
NAMES += (
    "torch.FloatStorage numpy.dtype numpy.core.multiarray._reconstruct mine.Thing _codecs.encode copyreg._reconstructor"
)
names = st.sampled_from(["c" + "\n".join(name.rsplit(".", 1)) + "\n" for name in NAMES.split()]).map(str.encode)
values = st.sampled_from(
    [b"N", b"K\x01", b"X\x01\x00\x00\x00a", b"U\x02f4", b"C\x04abcd", b"]", b"}", b")", b"(", b"\x8f", b"\x88"]
)
steps = st.sampled_from(sorted(STEPS)).flatmap(lambda code: st.binary(max_size=4).map(lambda tail: code + tail))
memo = st.sampled_from([b"q\x00", b"h\x00", b"q\x01", b"h\x01", b"\x94", b"2"])
calls = st.sampled_from(
    [b"R", b"b", b"\x81", b"o", b"\x92", b"t", b"\x85", b"\x86", b"s", b"u", b"a", b"e", b"\x90", b"Q"]
)


@FUZZ
@given(program=st.lists(st.one_of(names, values, steps, memo, calls), max_size=60))
def test_random_programs(program, tmp_path_factory):
    read_bytes(b"\x80\x04" + b"".join(program) + b".", tmp_path_factory.getbasetemp() / "x.pkl")


@FUZZ
@given(data=st.binary(max_size=300))
def test_random_bytes(data, tmp_path_factory):
    for head in (
        b"",
        b"\x80\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x80\x02\x8a\x0a" + bytes(10),
        b"\x10" + bytes(7) + b"{",
    ):
        read_bytes(head + data, tmp_path_factory.getbasetemp() / "x.pkl")


keys = st.one_of(st.text(max_size=5), st.integers(-(2**63), 2**63), st.booleans(), st.none())
plain = st.recursive(
    st.one_of(
        keys, st.floats(allow_nan=False), st.binary(max_size=300), st.text(max_size=300), st.integers(-(2**200), 2**200)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(keys, inner, max_size=5),
        st.dictionaries(keys, inner, max_size=5).map(OrderedDict),
        st.sets(keys, max_size=5),
        st.frozensets(keys, max_size=5),
    ),
    max_leaves=30,
)


@FUZZ
@given(value=plain, protocol=st.integers(0, 5))
def test_plain_data_read_as_python_reads_them(value, protocol):
    data = pickle.dumps(value, protocol)
    assert read_pickle(io.BytesIO(data), len(data)) == value

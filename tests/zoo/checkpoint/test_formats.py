"""The reader yields what torch yields, for every format that was published."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections import OrderedDict, defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.zoo.checkpoint.conftest import META, equal, save
from zoo.checkpoint import Checkpoint, read
from zoo.checkpoint.formats.open import open_checkpoint
from zoo.checkpoint.inspect import inspect
from zoo.checkpoint.pickle_reader.values import Inert, Slice
from zoo.checkpoint.save import save as save_safetensors
from zoo.checkpoint.to_safetensors import convert
from zoo.errors import CorruptCheckpoint


def test_a_published_file_reads_as_torch_reads_it(saved, state):
    path, kind = saved
    checkpoint = read(path)
    assert equal(checkpoint.state_dict, torch.load(path, weights_only=True)["state_dict"])
    assert checkpoint.format == f"torch ({kind})"
    assert checkpoint.meta == {**META, "CLASSES": ["cat", "dog"]}


def test_tensors_that_share_a_storage_still_do(saved):
    tensors = read(saved[0]).state_dict
    assert tensors["first"].untyped_storage().data_ptr() == tensors["second"].untyped_storage().data_ptr()


def test_reading_never_imports_torchs_own_unpickler(saved, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("the file was unpickled")

    monkeypatch.setattr(torch, "load", forbidden)
    monkeypatch.setattr(pickle, "load", forbidden)
    monkeypatch.setattr(pickle, "loads", forbidden)
    monkeypatch.setattr(pickle, "Unpickler", forbidden)
    read(saved[0])


@pytest.mark.parametrize("protocol", range(6))
def test_a_detectron2_pickle_reads_as_numpy_reads_it(protocol, tmp_path):
    arrays = {
        "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.asfortranarray(np.eye(3)),
        "c": np.int64(3),
    }
    model = {name: value for name, value in arrays.items() if isinstance(value, np.ndarray)}
    path = tmp_path / "model_final.pkl"
    content = {"model": model, "__author__": "Detectron2 Model Zoo", "iteration": arrays["c"]}
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    checkpoint = read(path)
    assert all(np.array_equal(checkpoint.state_dict[name].numpy(), model[name]) for name in model)
    assert checkpoint.state_dict["b"].dtype == torch.float64
    assert checkpoint.meta == {"__author__": "Detectron2 Model Zoo", "iteration": 3}


def test_a_pickle_of_python_2_reads(tmp_path):
    # {'model': {'w': numpy.zeros(2, '<f4')}} as Python 2 wrote it: byte strings without a type of their own.
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x02tcnumpy\ndtype\n"
    array += (
        b"(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tbI00\nU\x08" + bytes(8) + b"tb"
    )
    path = tmp_path / "old.pkl"
    path.write_bytes(b"\x80\x02}U\x05model}U\x01w" + array + b"ss.")
    assert torch.equal(read(path).state_dict["w"], torch.zeros(2))


@pytest.mark.parametrize("wrapper", ["state_dict", "model", None])
def test_weights_are_found_in_the_wrappers_of_other_projects(wrapper, state, tmp_path):
    content = {wrapper: state, "epoch": 3, "optimizer": {"state": {0: torch.zeros(9)}}} if wrapper else state
    torch.save(content, path := tmp_path / "x.pth")
    assert equal(read(path).state_dict, state)


def test_parameters_are_their_tensors(tmp_path):
    module = torch.nn.Linear(2, 3)
    torch.save({"state_dict": dict(module.named_parameters())}, path := tmp_path / "x.pth")
    assert torch.equal(read(path).state_dict["weight"], module.weight)


class Settings(dict):
    """A class that no reader knows."""


class Thing:
    def __init__(self):
        self.path = Path("/x")
        self.numbers = [1, 2]


@pytest.mark.parametrize("kind", ["legacy", "zip"])
def test_unknown_objects_are_kept_as_inert_records(kind, state, tmp_path):
    meta = {
        "settings": Settings(a=1),
        "thing": Thing(),
        "path": Path("/work_dirs"),
        "counts": defaultdict(int, {"x": 1}),
        "space": SimpleNamespace(a=1),
        "score": np.float64(0.5),
        "palette": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "tensor": torch.zeros(3),
        "set": {1, 2},
        "bytes": b"abc",
    }
    result = read(save(state, tmp_path / "x.pth", kind, meta)).meta
    assert isinstance(result["settings"], Inert) and result["settings"].name.endswith(".Settings")
    assert result["settings"].items == {"a": 1}
    assert result["thing"].state["numbers"] == [1, 2]
    assert isinstance(result["path"], Inert) and isinstance(result["counts"], Inert)
    assert result["score"] == 0.5 and result["palette"] == [[0, 1, 2], [3, 4, 5]]
    assert sorted(result["set"]) == [1, 2] and result["bytes"] == "abc"


def test_a_state_dict_must_hold_tensors_only(tmp_path):
    torch.save({"state_dict": {"a": torch.zeros(1), "b": 3}}, path := tmp_path / "x.pth")
    with pytest.raises(CorruptCheckpoint, match="int as the tensor 'b'"):
        read(path)


def test_a_file_without_weights_says_what_it_holds(tmp_path):
    torch.save({"results": [1], "meta": {}}, path := tmp_path / "x.pth")
    with pytest.raises(CorruptCheckpoint, match="no state dict; its entries are: results, meta"):
        read(path)


def test_conversion_keeps_everything(saved, state, tmp_path):
    path = convert(saved[0], tmp_path / "out.safetensors")
    original, converted = read(saved[0]), read(path)
    assert equal({n: converted.state_dict[n] for n in original.state_dict}, original.state_dict)
    assert converted.meta == original.meta


def test_inert_objects_survive_conversion(state, tmp_path):
    source = save(state, tmp_path / "x.pth", "zip", {"settings": Settings(a=[1])})
    result = read(convert(source, tmp_path / "out.safetensors")).meta["settings"]
    assert isinstance(result, Inert) and result.items == {"a": [1]}


def test_a_failed_conversion_leaves_nothing(tmp_path):
    target = tmp_path / "out.safetensors"
    with pytest.raises(CorruptCheckpoint):
        save_safetensors(Checkpoint({"a": torch.zeros(2, dtype=torch.complex128)}), target)
    assert list(tmp_path.iterdir()) == []


def test_inspection_reads_no_tensors_and_needs_no_torch(saved, state):
    result = inspect(saved[0])
    assert [name for name, _, _ in result.tensors] == list(state)
    assert result.nbytes == sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    assert (result.classes, result.version) == (["cat", "dog"], "2.11.0")
    script = "import sys; from zoo.checkpoint.inspect import inspect; inspect(sys.argv[1]); "
    script += "assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script, str(saved[0])], check=True)


def test_module_versions_do_not_get_in_the_way(saved):
    assert isinstance(read(saved[0]).state_dict, dict)
    assert OrderedDict not in {type(value) for value in read(saved[0]).meta.values()}


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_long_arrays_of_a_pickle_are_read_when_they_are_needed(protocol, tmp_path, monkeypatch):
    arrays = {
        "plain": np.arange(40_000, dtype=np.float32).reshape(200, 200),
        "fortran": np.asfortranarray(np.arange(90_000, dtype=np.int64).reshape(300, 300)),
        "short": np.arange(5, dtype=np.float16),
    }
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": arrays, "note": bytes(100_000)}, protocol))
    state = read(path).state_dict
    assert all(np.array_equal(state[name].numpy(), arrays[name]) for name in arrays)
    monkeypatch.setattr("zoo.checkpoint.tensors.to_numpy", None)
    assert [shape for _, shape, _ in inspect(path).tensors] == [(200, 200), (300, 300), (5,)]
    root = open_checkpoint(path).root
    assert isinstance(root["model"]["plain"].data, Slice) == (protocol > 2)  # protocol 2 has no bytes, only text


@pytest.mark.parametrize("end", [-1, -1000, -200_000])
def test_a_pickle_that_ends_in_a_long_array_is_corrupt(end, tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps({"model": {"w": np.zeros(100_000)}}, 3)[:end])
    with pytest.raises(CorruptCheckpoint):
        inspect(path)

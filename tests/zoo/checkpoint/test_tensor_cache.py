"""The fast copy of a cached file: same content, and never used for another file."""

from __future__ import annotations

import hashlib
from importlib import import_module

import pytest
import torch

from tests.zoo.checkpoint.conftest import equal, save
from zoo.checkpoint import read
from zoo.checkpoint.read import read_file
from zoo.download.fetch_file import obtain
from zoo.download.remote_file import RemoteFile


@pytest.fixture
def cached(saved, state):
    """A verified file in the cache, read once."""
    path = saved[0]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    result = obtain(RemoteFile("models/x.pth", (path.as_uri(),), digest))
    read(result)
    return result


def copies(cache):
    return list((cache / ".zoo" / "tensors").glob("*"))


def test_the_first_read_makes_a_copy_and_the_second_uses_it(cached, cache, monkeypatch):
    original = read_file(cached)
    assert [path.suffix for path in copies(cache)] == [".safetensors"]
    monkeypatch.setattr(import_module("zoo.checkpoint.read"), "read_file", None)
    again = read(cached)
    assert equal(again.state_dict, original.state_dict)
    assert (again.meta, again.format, again.path) == (original.meta, original.format, cached)


def test_tensors_of_the_copy_may_be_changed_without_changing_it(cached):
    first = read(cached).state_dict["backbone.conv1.weight"]
    before = first.clone()
    first.zero_()
    assert torch.equal(read(cached).state_dict["backbone.conv1.weight"], before)


def test_a_file_that_was_changed_is_read_itself(cached, state, saved):
    state["backbone.conv1.weight"] = torch.zeros(8, 3, 3, 3)
    save(state, cached, saved[1])
    assert read(cached).state_dict["backbone.conv1.weight"].abs().sum() == 0


def test_a_damaged_copy_is_made_again(cached, cache):
    (copy,) = copies(cache)
    copy.write_bytes(copy.read_bytes()[:-100])
    assert equal(read(cached).state_dict, read_file(cached).state_dict)
    assert equal(read(cached).state_dict, read_file(cached).state_dict)


def test_files_outside_the_cache_have_no_copy(saved, cache):
    read(saved[0])
    assert copies(cache) == []


def test_a_full_disk_only_means_no_copy(saved, cache, monkeypatch):
    path = saved[0]
    result = obtain(RemoteFile("models/x.pth", (path.as_uri(),), hashlib.sha256(path.read_bytes()).hexdigest()))
    monkeypatch.setattr("zoo.download.transfer.shutil.disk_usage", lambda _: type("U", (), {"free": 0}))
    read(result)
    assert copies(cache) == []

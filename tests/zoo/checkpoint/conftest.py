"""Checkpoints in every format, made in the test."""

from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

META = {"CLASSES": ("cat", "dog"), "mmdet_version": "2.11.0", "epoch": 12, "config": "model = dict(type='X')\n"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def state():
    """Every element type, a shared storage, a transposed tensor, a scalar, an empty one."""
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(4, 6, generator=generator)
    shared = torch.arange(10.0)
    return OrderedDict(
        {
            "backbone.conv1.weight": torch.randn(8, 3, 3, 3, generator=generator),
            "half": weight.half(),
            "bfloat": weight.bfloat16(),
            "double": weight.double(),
            "bool": weight > 0,
            "byte": torch.arange(5, dtype=torch.uint8),
            "int": torch.arange(5, dtype=torch.int32),
            "backbone.bn1.num_batches_tracked": torch.tensor(7),
            "transposed": weight.t(),
            "first": shared[:5],
            "second": shared[5:],
            "empty": torch.zeros(0, 4),
        }
    )


@pytest.fixture(params=["legacy", "zip"])
def saved(request, state, tmp_path):
    """A published file: (path, kind)."""
    path = tmp_path / f"{request.param}.pth"
    state._metadata = OrderedDict({"": {"version": 1}, "backbone": {"version": 2}})
    save(state, path, request.param)
    return path, request.param


def save(state, path, kind, meta=META):
    """Write `{"meta", "state_dict"}` with torch."""
    torch.save({"meta": meta, "state_dict": state}, path, _use_new_zipfile_serialization=kind == "zip")
    return path


def equal(left, right):
    """Whether two state dicts have the same names, types, shapes and values, in the same order."""
    same = list(left) == list(right)
    return same and all(left[n].dtype == right[n].dtype and torch.equal(left[n], right[n]) for n in left)

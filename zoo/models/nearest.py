"""Which architectures a file without a configuration may belong to, by the names and shapes of its tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.checkpoint.checkpoint import Checkpoint
from zoo.checkpoint.convert.rename import adapt
from zoo.manifest import api
from zoo.models.build import build_detector

CANDIDATES = 12
"""Architectures, those of the nearest size, whose tensors are compared with the file's."""
FACTOR = 1.5
"""How much larger or smaller a candidate may be: other classes change the size of predictors."""
LEAST = 0.5
"""The share of equal tensors from which an architecture is worth naming."""
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def nearest_architectures(checkpoint: Checkpoint, most: int = 3) -> list[tuple[str, float]]:
    """Names of architectures, the most similar and most used first, with the share of their tensors that the file has.

    A tensor is there if its name, after the renaming that loading does, and its shape are. Only shares of at least
    `LEAST` are listed.
    """
    shares = [(name, share_of(checkpoint, name)) for name in of_similar_size(checkpoint.state_dict)]
    likely = [(name, share) for name, share in shares if share >= LEAST]
    users = Counter(api.get(name).architecture for name in api.catalog().models)
    return sorted(likely, key=lambda pair: (-pair[1], -users[pair[0]]))[:most]


def of_similar_size(state: Mapping[str, Tensor]) -> list[str]:
    """Architectures whose number of parameters is near that of a file, the nearest first."""
    count = sum(tensor.numel() for name, tensor in state.items() if not name.endswith(BUFFERS))
    known = {name: stated.value for name, stated in api.catalog().parameters.items()}
    near = [name for name, size in known.items() if count <= size * FACTOR and size <= count * FACTOR]
    return sorted(near, key=lambda name: abs(known[name] - count))[:CANDIDATES]


def share_of(checkpoint: Checkpoint, name: str) -> float:
    """The share of an architecture's tensors that a file has, of all tensors that either has."""
    with torch.device("meta"):  # names and shapes, without memory and without random numbers
        network = build_detector(api.architecture(name))
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    state, _ = adapt(checkpoint.state_dict, shapes, checkpoint.meta)
    equal = sum(key in state and tuple(state[key].shape) == shape for key, shape in shapes.items())
    return equal / len(shapes.keys() | state.keys())

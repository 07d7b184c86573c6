"""The same random numbers on every device, so that losses of networks with samplers and dropout can be compared."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

DRAWING = {
    "bernoulli",
    "bernoulli_",
    "exponential_",
    "multinomial",
    "native_dropout",
    "normal",
    "normal_",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "random_",
    "randperm",
    "uniform",
    "uniform_",
}


class SameRandomNumbers(TorchDispatchMode):
    """While it is active, operators that draw random numbers do so on the CPU, with its generator, for every device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        name = func.overloadpacket.__name__
        home = device_of(args, kwargs)
        if name not in DRAWING or home is None or home.type == "cpu":
            return func(*args, **kwargs)
        if "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        drawn = func(*pytree.tree_map_only(Tensor, Tensor.cpu, args), **kwargs)
        if name.endswith("_"):
            return args[0].copy_(drawn)
        return pytree.tree_map_only(Tensor, lambda x: x.to(home), drawn)


def device_of(args: Any, kwargs: dict[str, Any]) -> torch.device | None:
    """Where an operator's result goes; None where nothing says so."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"])
    return next((x.device for x in pytree.tree_leaves(args) if isinstance(x, Tensor)), None)

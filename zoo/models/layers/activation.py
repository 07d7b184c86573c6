"""Activation functions by their name in a description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from zoo.errors import BuildError

ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "ReLU": nn.ReLU,
    "ReLU6": nn.ReLU6,
    "LeakyReLU": nn.LeakyReLU,
    "PReLU": nn.PReLU,
    "Swish": nn.SiLU,
    "SiLU": nn.SiLU,
    "GELU": nn.GELU,
    "Sigmoid": nn.Sigmoid,
    "Tanh": nn.Tanh,
    "HSigmoid": nn.Hardsigmoid,
    "HSwish": nn.Hardswish,
}
WITHOUT_INPLACE = ("GELU", "PReLU", "Sigmoid", "Tanh")


def make_activation(description: Mapping[str, Any], inplace: bool = False) -> nn.Module:
    """The activation `{type: ..., **arguments}`.

    inplace: used where the function can work in place and the description does not decide.
    Raises BuildError for an unknown name.
    """
    arguments = dict(description)
    name = arguments.pop("type")
    if name not in ACTIVATIONS:
        raise BuildError(f"no activation '{name}'; known: {', '.join(ACTIVATIONS)}")
    if name not in WITHOUT_INPLACE:
        arguments.setdefault("inplace", inplace)
    return ACTIVATIONS[name](**arguments)

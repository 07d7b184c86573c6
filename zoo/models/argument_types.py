"""Whether the values of a description are what a component's constructor takes.

A constructor's annotations are the one statement of that. What a value cannot be is said before the constructor runs:
`num_stages='4'` would fail somewhere inside, in words that name neither the component nor the argument.
"""

from __future__ import annotations

import collections.abc
import inspect
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

from zoo.errors import BuildError
from zoo.text import printable

MAX_INTEGER = 1_000_000
"""Layers, channels and classes are counted in less; a larger number would only let a loop run for long."""


def check_arguments(cls: Any, kind: str, arguments: Mapping[str, Any]) -> None:
    """Raise BuildError for the first argument that the constructor's annotations exclude."""
    hints = expected_types(cls)
    for name, value in arguments.items():
        if name in hints and not fits(value, hints[name]):
            shown = printable(f"{value!r:.60}")
            raise BuildError(f"{kind}: '{name}' is {shown}, not {describe(hints[name])}", kind, name)
        if type(value) is int and abs(value) > MAX_INTEGER and hints.get(name) is int:
            raise BuildError(f"{kind}: '{name}' is {value:.3g}, more than any network has", kind, name)


@cache
def expected_types(cls: Any) -> dict[str, Any]:
    """Argument -> type, of a constructor and of the base class that it passes `**kwargs` on to."""
    result: dict[str, Any] = {}
    for owner in cls.__mro__ if inspect.isclass(cls) else (cls,):
        function = owner.__dict__.get("__init__") if inspect.isclass(owner) else owner
        if function is None or not hasattr(function, "__code__"):
            continue
        result = {**resolved(function), **result}
        if not function.__code__.co_flags & inspect.CO_VARKEYWORDS:
            break
    return result


def resolved(function: Any) -> dict[str, Any]:
    """A function's annotations as types; none where a name in them is only there for a type checker."""
    try:
        return typing.get_type_hints(function)
    except NameError:
        return {}


def fits(value: Any, hint: Any) -> bool:
    """Whether a value of plain data can be what an annotation says; annotations of other things admit everything."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if hint in (None, type(None)):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is str:
        return isinstance(value, str)
    if origin in (collections.abc.Mapping, dict) or hint in (Mapping, dict):
        # A list of descriptions is a chain of components.
        chain = isinstance(value, (list, tuple)) and all(isinstance(link, Mapping) for link in value)
        return isinstance(value, Mapping) or chain
    if origin is tuple:
        return isinstance(value, (list, tuple)) and fits_tuple(value, inner)
    if origin in (collections.abc.Sequence, list):
        return isinstance(value, (list, tuple)) and all(fits(item, inner[0]) for item in value)
    return True


def fits_tuple(value: Any, inner: tuple[Any, ...]) -> bool:
    """Whether the items of a list or tuple fit `tuple[...]`."""
    if len(inner) == 2 and inner[1] is Ellipsis:
        return all(fits(item, inner[0]) for item in value)
    return len(value) == len(inner) and all(fits(item, one) for item, one in zip(value, inner))


def describe(hint: Any) -> str:
    """An annotation in words."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(one) for one in inner)
    words = {int: "an integer", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    if hint in words:
        return words[hint]
    return "a mapping" if origin in (collections.abc.Mapping, dict) else "a list"

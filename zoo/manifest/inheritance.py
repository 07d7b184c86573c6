"""`base:` and `without:`: how manifests state only what differs.

A mapping in a manifest starts from another one and is merged over it: mappings merge key by key, everything else
(numbers, texts, lists, null) replaces what was there.

    base: NAME        start from the component or architecture NAME instead of what the surrounding base has here
    base: ~           start from nothing: this mapping replaces the inherited one
    without: [KEYS]   leave these inherited keys out
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

BASE, WITHOUT = "base", "without"


class InheritanceError(Exception):
    """A `base:` or `without:` that cannot be followed; `path` leads to it from where resolving began."""

    def __init__(self, path: tuple[str | int, ...], sentence: str) -> None:
        super().__init__(sentence)
        self.path = path


def resolve(value: Any, lookup: Callable[[str], Any], inherited: Any = None, path: tuple[str | int, ...] = ()) -> Any:
    """`value` with every base filled in; nothing of the result is shared with the manifests.

    lookup: name of a base -> its resolved mapping; KeyError where there is none.
    inherited: the resolved value that the surrounding base has at this path.
    """
    if isinstance(value, list):
        return [resolve(item, lookup, None, (*path, i)) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    start = _start(value, lookup, inherited, path)
    left_out = value.get(WITHOUT, ())
    merged = {key: copy(start[key]) for key in start if key not in left_out}
    for key, item in value.items():
        if key not in (BASE, WITHOUT):
            merged[key] = resolve(item, lookup, start.get(key), (*path, key))
    return merged


def _start(
    value: Mapping[str, Any], lookup: Callable[[str], Any], inherited: Any, path: tuple[str | int, ...]
) -> Mapping[str, Any]:
    start = inherited if isinstance(inherited, dict) else {}
    if not isinstance(value.get(BASE), (str, type(None))):
        raise InheritanceError((*path, BASE), "must be a name, or ~ to start from nothing")
    if not isinstance(value.get(WITHOUT, []), list):
        raise InheritanceError((*path, WITHOUT), "must be a list of keys")
    if BASE in value:
        try:
            start = {} if value[BASE] is None else lookup(value[BASE])
        except KeyError:
            raise InheritanceError((*path, BASE), f"no component or architecture is named '{value[BASE]}'") from None
    for key in value.get(WITHOUT, ()):
        if key not in start:
            raise InheritanceError((*path, WITHOUT), f"'{key}' is not inherited here, so it cannot be left out")
    return start


def copy(value: Any) -> Any:
    """`value` with every mapping and list copied."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    return [copy(item) for item in value] if isinstance(value, list) else value


def origin(name: str, path: Sequence[str | int], raw: Callable[[str], Any]) -> tuple[str, tuple[str | int, ...]] | None:
    """Which base states the field at `path` of `name`: (base's name, path inside its raw mapping), or None.

    raw: name of a base -> its mapping as written. A field that is a merged mapping is found at its outermost statement.
    """
    return _origin(name, raw(name), tuple(path), (), raw)


def _origin(
    name: str, value: Any, path: tuple[str | int, ...], done: tuple[str | int, ...], raw: Callable[[str], Any]
) -> tuple[str, tuple[str | int, ...]] | None:
    if not path:
        return name, done
    if isinstance(value, list):
        index = path[0]
        if not isinstance(index, int) or index >= len(value):
            return None
        return _origin(name, value[index], path[1:], (*done, index), raw)
    if not isinstance(value, dict):
        return None
    result = _origin(name, value[path[0]], path[1:], (*done, path[0]), raw) if path[0] in value else None
    if result is None and value.get(BASE) is not None:
        result = _origin(value[BASE], raw(value[BASE]), path, (), raw)
    return result

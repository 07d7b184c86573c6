"""The manifest schema, version 1, as data, and the check of a file against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import ManifestError

VERSION = 1


class Text(NamedTuple):
    """A text that matches `pattern` in full."""

    pattern: str
    meaning: str


class Names(NamedTuple):
    """A mapping from names to `value`."""

    value: Any


class Fields(NamedTuple):
    """A mapping with these keys only; all of `needed` must be there, and one of `one_of`."""

    fields: dict[str, Any]
    needed: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()


class Either(NamedTuple):
    """A text that matches, or a mapping."""

    text: Text
    mapping: Fields


class OrNull(NamedTuple):
    """`value`, or `~`: there is none, although one could be derived."""

    value: Any


class Several(NamedTuple):
    """A list of `value`, this long."""

    value: Any
    length: int


ANY = object()  # an architecture's own vocabulary
NUMBER, NAME, TEXT = float, Text(r"\S+", "a name without spaces"), str
PAIR, TRIPLE = Several(int, 2), Several(NUMBER, 3)
SHA256 = Text(r"[0-9a-f]{8}|[0-9a-f]{64}", "8 or 64 lower-case hex digits in quotes")

_PAPER = Fields({"title": TEXT, "url": TEXT}, ("title", "url"))
_CHECKPOINT = Fields(
    {
        "path": TEXT,
        "file": TEXT,
        "sha256": SHA256,
        "md5": Text(r"[0-9a-f]{6,32}", "6 to 32 lower-case hex digits in quotes"),
        "format": Text(
            r"mmdet-v1|mmdet-v2|mmdet-v3|detectron2|torchvision|transformers|authors",
            "mmdet-v1, -v2, -v3, detectron2, torchvision, transformers or authors",
        ),
    },
    one_of=("path", "file"),
)
_PUBLISHED = Either(Text(r"\S+", "a file name, a path, a URL or a mapping"), _CHECKPOINT)
_TRAINING = Fields(
    {
        "schedule": TEXT,
        "epochs": int,
        "iterations": int,
        "memory_gb": NUMBER,
        "batch_size": int,
        "hardware": TEXT,
        "data": TEXT,
        "optimizer": TEXT,
        "learning_rate": NUMBER,
        "precision": TEXT,
        "backbone": NAME,
        "start": NAME,
        "started": Text(r"\d{8}_\d{6}", "a day and time as YYYYMMDD_HHMMSS"),
        "seconds_per_iteration": NUMBER,
        "images_per_second": NUMBER,
    }
)
_SUBSTITUTE = Either(
    Text(r"\S+", "the name of a model, or a mapping"),
    Fields({"name": TEXT, "url": TEXT, "metrics": Names(NUMBER), "license": TEXT}, ("name", "metrics")),
)
_SETTING = {"hardware": TEXT, "batch": int, "precision": TEXT, "resolution": PAIR}
_SPEED = Fields({"fps": NUMBER, **_SETTING}, ("fps",))
_MODEL_FIELDS = {
    "aliases": [NAME],
    "alternates": [_PUBLISHED],
    "architecture": NAME,
    "checkpoint": _PUBLISHED,
    "config": TEXT,
    "dataset": NAME,
    "family": NAME,
    "folder": NAME,
    "license": TEXT,
    "log": OrNull(TEXT),
    "metrics": Names(Names(NUMBER)),
    "normalization": NAME,
    "notes": [TEXT],
    "origin": NAME,
    "paper": _PAPER,
    "preprocessing": NAME,
    "published": Names(NUMBER),
    "receptive_fields": Fields({"search": NAME, "branches": int}, ("search", "branches")),
    "speed": [_SPEED],
    "substitutes": [_SUBSTITUTE],
    "superseded": [_PUBLISHED],
    "tasks": [TEXT],
    "training": _TRAINING,
}
_NORMALIZATION = Fields({"mean": TRIPLE, "std": TRIPLE, "to_rgb": bool, "description": TEXT}, ("mean", "std", "to_rgb"))
_RESIZE = Fields(
    {
        "scale": PAIR,
        "factor": NUMBER,
        "keep_ratio": bool,
        "backend": Text(r"opencv|pillow|tensor", "opencv, pillow or tensor"),
    }
)
_PAD = Fields({"divisor": int, "size": PAIR, "square": bool, "value": ANY, "part_of_image": bool})
_CENTER_PAD = Fields({"bits": int, "add": int, "divisor": int, "value": TRIPLE})
_STEP = Either(
    Text("normalize", "`normalize` or one step with its options"),
    Fields({"resize": _RESIZE, "pad": _PAD, "center_pad": _CENTER_PAD}),
)
_RECIPE = Fields(
    {
        "steps": [_STEP],
        "flip": bool,
        "proposals": int,
        "float32": bool,
        "decoder": Text(r"opencv|pillow", "opencv or pillow"),
        "description": TEXT,
    },
    ("steps",),
)
_DATASET = Fields(
    {
        "title": TEXT,
        "url": TEXT,
        "metric": TEXT,
        "classes": [TEXT],
        "stuff_classes": [TEXT],
        "splits": Names(ANY),
        "license": TEXT,
        "note": TEXT,
    },
    ("title", "classes"),
)
_BACKBONE = Fields(
    {"url": TEXT, "source": TEXT, "normalization": TEXT, "sha256": SHA256, "license": TEXT, "note": TEXT}
)
_MIRROR = Fields(
    {
        "name": NAME,
        "url": TEXT,
        "lacks": [TEXT],
        "original": bool,
        "files": [NAME],
        "renamed": Names(NAME),
        "note": TEXT,
    },
    ("name", "url"),
)

FILE = Fields(
    {
        "schema": int,
        "family": NAME,
        "paper": _PAPER,
        "defaults": Fields({**_MODEL_FIELDS, "speed": Fields(_SETTING)}),
        "components": Names(Names(ANY)),
        "architectures": Names(Names(ANY)),
        "models": Names(Fields(_MODEL_FIELDS)),
        "normalizations": Names(_NORMALIZATION),
        "preprocessing": Names(_RECIPE),
        "datasets": Names(_DATASET),
        "backbones": Names(_BACKBONE),
        "mirrors": [_MIRROR],
        "sha256": Names(Text(r"[0-9a-f]{64}", "64 lower-case hex digits in quotes")),
        "parameters": Names(int),
        "receptive_fields": Names(Fields({"skip": [TEXT], "dilations": Names(int)}, ("dilations",))),
    },
    ("schema",),
)

_WORDS: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def check(path: Path, content: Any) -> None:
    """Raise ManifestError, with file, line, field and sentence, for the first thing that breaks the schema."""
    if isinstance(content, dict) and content.get("schema", VERSION) != VERSION:
        message = f"this version reads schema {VERSION}, not {content['schema']}; upgrade the package or the file"
        raise mistake(path, ("schema",), message)
    for field, sentence in problems(content, FILE):
        raise mistake(path, field, sentence)


def mistake(path: Path, field: tuple[str | int, ...], sentence: str) -> ManifestError:
    """`file:line: field: sentence`."""
    from zoo.manifest.yaml_io import line_of

    name = ".".join(map(str, field)) or "the file"
    return ManifestError(f"{path}:{line_of(path, field)}: {name}: {sentence}")


def problems(value: Any, shape: Any, field: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(field, sentence) for everything in `value` that is not of `shape`."""
    if shape is ANY:
        return
    if isinstance(shape, list):
        yield from _list_problems(value, shape[0], field)
    elif isinstance(shape, (Names, Fields)):
        yield from _mapping_problems(value, shape, field)
    elif isinstance(shape, Several):
        yield from _list_problems(value, shape.value, field)
        if isinstance(value, list) and len(value) != shape.length:
            yield field, f"must have {shape.length} numbers, not {len(value)}"
    elif isinstance(shape, OrNull):
        if value is not None:
            yield from problems(value, shape.value, field)
    elif isinstance(shape, Either):
        yield from problems(value, shape.mapping if isinstance(value, dict) else shape.text, field)
    elif isinstance(shape, Text):
        if not isinstance(value, str) or not re.fullmatch(shape.pattern, value):
            yield field, f"must be {shape.meaning}, not {_shown(value)}"
    elif not _is(value, shape):
        yield field, f"must be {_WORDS[shape]}, not {_shown(value)}"


def _list_problems(value: Any, shape: Any, field: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if not isinstance(value, list):
        yield field, f"must be a list, not {_shown(value)}"
        return
    for index, item in enumerate(value):
        yield from problems(item, shape, (*field, index))


def _mapping_problems(
    value: Any, shape: Names | Fields, field: tuple[str | int, ...]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if not isinstance(value, dict):
        yield field, f"must be a mapping, not {_shown(value)}"
        return
    if isinstance(shape, Fields):
        for key in shape.needed:
            if key not in value:
                yield field, f"'{key}' is missing"
        if shape.one_of and not set(shape.one_of) & set(value):
            yield field, f"needs one of {', '.join(shape.one_of)}"
    for key, item in value.items():
        if not isinstance(key, str):
            yield (*field, str(key)), f"a key must be text, so write '{key}' in quotes"
        elif isinstance(shape, Names):
            yield from problems(item, shape.value, (*field, key))
        elif key not in shape.fields:
            yield (*field, key), f"there is no such field; known are {', '.join(sorted(shape.fields))}"
        else:
            yield from problems(item, shape.fields[key], (*field, key))


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and not (kind is int and isinstance(value, bool))


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."

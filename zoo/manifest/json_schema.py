"""The manifest schema as JSON Schema, by which editors complete and check manifests.

python -m zoo.manifest.json_schema > manifests/generated/schema.json
"""

from __future__ import annotations

import json
from typing import Any

from zoo.manifest.schema import ANY, FILE, VERSION, Either, Fields, Names, OrNull, Several, Text

_TYPES: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def document() -> dict[str, Any]:
    """The whole schema."""
    described = translate(FILE)
    described["properties"]["schema"] = {"const": VERSION, "description": "The version of these rules."}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": f"Manifest of detection-zoo, schema {VERSION}",
        **described,
    }


def translate(shape: Any) -> dict[str, Any]:
    """One shape of `zoo.manifest.schema`."""
    if shape is ANY:
        return {}
    if isinstance(shape, list):
        return {"type": "array", "items": translate(shape[0])}
    if isinstance(shape, Several):
        return {**translate([shape.value]), "minItems": shape.length, "maxItems": shape.length}
    if isinstance(shape, OrNull):
        return {"anyOf": [translate(shape.value), {"type": "null"}]}
    if isinstance(shape, Either):
        return {"anyOf": [translate(shape.text), translate(shape.mapping)]}
    if isinstance(shape, Text):
        return {"type": "string", "pattern": f"^({shape.pattern})$", "description": shape.meaning}
    if isinstance(shape, Names):
        return {"type": "object", "additionalProperties": translate(shape.value)}
    return _fields(shape) if isinstance(shape, Fields) else {"type": _TYPES[shape]}


def _fields(shape: Fields) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": "object",
        "properties": {key: translate(value) for key, value in shape.fields.items()},
        "additionalProperties": False,
    }
    if shape.needed:
        described["required"] = list(shape.needed)
    if shape.one_of:
        described["anyOf"] = [{"required": [key]} for key in shape.one_of]
    return described


if __name__ == "__main__":
    print(json.dumps(document(), indent=1))

"""How benchmarks print named numbers."""

from __future__ import annotations

import json
from collections.abc import Mapping


def numbers(result: Mapping[str, object], as_json: bool, width: int) -> str:
    """A result as JSON, or one line per number, its name padded to `width` characters."""
    if as_json:
        return json.dumps(result, indent=1)
    return "\n".join(f"{key:{width}} {value}" for key, value in result.items())

"""A checkpoint nobody knows, in one line: method, classes, and the architecture that is nearest to it."""

from __future__ import annotations

import math
import re
from pathlib import Path

from zoo.checkpoint.inspect import Inspection, inspect
from zoo.errors import ZooError
from zoo.manifest import api
from zoo.text import printable

_METHOD = re.compile(r"model\s*=\s*dict\(\s*type\s*=\s*['\"](\w+)['\"]")
_BUFFERS = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked)$")


def one_line(path: Path) -> str:
    """What can be said without loading tensors; for a file that is not a checkpoint, why."""
    try:
        result = inspect(path)
    except (ZooError, OSError) as error:
        reason = printable(str(error), limit=200).removeprefix(f"{path} ").rstrip(".")
        return f"no published file, and no readable checkpoint ({reason})"
    facts = [method(result), f"{len(result.classes)} classes" if result.classes else None, nearest(result)]
    return f"no published file; {', '.join(filter(None, facts))}"


def method(result: Inspection) -> str:
    """The detector's type, as the configuration in the file names it."""
    stated = _METHOD.search(result.config or "")
    return stated[1] if stated else "method unknown"


def nearest(result: Inspection) -> str | None:
    """The architecture whose number of parameters is nearest."""
    count = sum(math.prod(shape) for name, shape, _ in result.tensors if not _BUFFERS.search(name))
    sizes = {name: stated.value for name, stated in api.catalog().parameters.items()}
    if not sizes or not count:
        return None
    name = min(sizes, key=lambda key: abs(sizes[key] - count))
    return f"{count:,} parameters, nearest architecture {name} ({sizes[name]:,})"

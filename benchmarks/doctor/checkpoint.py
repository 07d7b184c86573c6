"""Why a checkpoint does not fit a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.errors import MismatchedCheckpoint


def diagnose(path: Path, name: str) -> dict[str, Any]:
    """Load the file strictly into the network called `name`. Raises ZooError for what is not a checkpoint at all."""
    import zoo

    try:
        model = zoo.load_file(path, name)
    except MismatchedCheckpoint as error:
        explanation = {"key": "checkpoint", "sentence": str(error), "points": None}
        return {"summary": f"{path.name} does not fit {name}.", "explanations": [explanation], "notices": []}
    count = sum(parameter.numel() for parameter in model.parameters())
    summary = f"{path.name} fits {name}: all names and shapes, {count:,} parameters."
    return {"summary": summary, "explanations": [], "notices": []}

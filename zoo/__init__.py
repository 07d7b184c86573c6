"""The model zoo: manifests, verified files, networks.

Importing this package is cheap: nothing here imports torch until a function that needs it is called.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zoo.errors import (
    BuildError,
    CorruptCheckpoint,
    FetchError,
    ManifestError,
    MismatchedCheckpoint,
    NotTrainable,
    UnknownModel,
    UnreadableImage,
    UnsafeCheckpoint,
    ZooError,
)

__version__ = "0.1.0"

# Public name -> the module that defines it; imported on first use.
_HOME = {
    "Entry": "zoo.manifest.api",
    "list_models": "zoo.manifest.api",
    "get": "zoo.manifest.api",
    "build": "zoo.loading",
    "fetch": "zoo.download.fetch",
    "load": "zoo.loading",
    "load_file": "zoo.loading",
    "preprocessor": "zoo.loading",
    "Detections": "zoo.structures",
    "Sample": "zoo.structures",
}

__all__ = [
    "BuildError",
    "CorruptCheckpoint",
    "Detections",
    "Entry",
    "FetchError",
    "ManifestError",
    "MismatchedCheckpoint",
    "NotTrainable",
    "Sample",
    "UnknownModel",
    "UnreadableImage",
    "UnsafeCheckpoint",
    "ZooError",
    "build",
    "fetch",
    "get",
    "list_models",
    "load",
    "load_file",
    "preprocessor",
]

if TYPE_CHECKING:
    from zoo.download.fetch import fetch
    from zoo.loading import build, load, load_file, preprocessor
    from zoo.manifest.api import Entry, get, list_models
    from zoo.structures import Detections, Sample


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'zoo' has no attribute '{name}'")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value

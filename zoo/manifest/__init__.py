"""What exists: manifest files as validated, frozen entries."""

from zoo.manifest.api import architecture

__all__ = ["architecture"]

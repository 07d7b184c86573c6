"""What environment variables say: the one place that reads those of the zoo, of the Hub and of torchrun.

Nothing writes them. A command's option that means the same is passed on as a value.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zoo.errors import UsageError


@dataclass(frozen=True, slots=True)
class DownloadPolicy:
    """offline: open no connection. require_full_hash: reject files of which only a part of the hash is known."""

    offline: bool = False
    require_full_hash: bool = False


class Process(NamedTuple):
    """This process among those that torchrun started. local_rank: among those of its machine; None without torchrun."""

    rank: int = 0
    world: int = 1
    local_rank: int | None = None


def cache_dir() -> Path:
    """`ZOO_CACHE`, else `detection-zoo` in the user's cache folder; it need not exist yet."""
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "detection-zoo"


def results_file() -> Path:
    """`ZOO_RESULTS`, else `results.db` in the current folder."""
    return Path(os.environ.get("ZOO_RESULTS") or "results.db")


def manifest_files() -> list[Path]:
    """`ZOO_MANIFESTS`, separated as in `PATH`: the user's own manifest files."""
    listed = os.environ.get("ZOO_MANIFESTS", "").split(os.pathsep)
    return [Path(item).expanduser().absolute() for item in listed if item]


def lock_file() -> Path | None:
    """`ZOO_LOCK`: the lock file of the user's project."""
    chosen = os.environ.get("ZOO_LOCK")
    return Path(chosen).expanduser() if chosen else None


def mirrors() -> list[str]:
    """`ZOO_MIRRORS`, separated by blanks or commas: addresses or folders that are tried first."""
    return os.environ.get("ZOO_MIRRORS", "").replace(",", " ").split()


def download_policy(offline: bool = False, require_full_hash: bool = False) -> DownloadPolicy:
    """What `ZOO_OFFLINE` and `ZOO_REQUIRE_FULL_HASH` demand, and what is demanded here."""
    return DownloadPolicy(offline or is_set("ZOO_OFFLINE"), require_full_hash or is_set("ZOO_REQUIRE_FULL_HASH"))


def returns_memory() -> bool:
    """`ZOO_RETURN_MEMORY`: commands return freed memory to the system at once, as glibc does by default."""
    return is_set("ZOO_RETURN_MEMORY")


def is_set(name: str) -> bool:
    """Whether a variable is neither empty nor 0."""
    return os.environ.get(name, "") not in ("", "0")


def read_timeout() -> float:
    """Seconds without a byte after which a server counts as hanging: `ZOO_TIMEOUT`, else 30. Raises UsageError."""
    text = os.environ.get("ZOO_TIMEOUT") or "30"
    try:
        if (seconds := float(text)) > 0:
            return seconds
    except ValueError:
        pass
    raise UsageError(f"ZOO_TIMEOUT is '{text}', which is not a number of seconds.")


def hub_endpoint() -> str:
    """`HF_ENDPOINT`, else Hugging Face itself; without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_token() -> str | None:
    """`HF_TOKEN`, or the older `HUGGING_FACE_HUB_TOKEN`."""
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or None


def process() -> Process:
    """`RANK`, `WORLD_SIZE` and `LOCAL_RANK`, as torchrun sets them."""
    rank, world, local = (os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    return Process(int(rank or 0), int(world or 1), None if local is None else int(local))

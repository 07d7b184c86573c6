"""What environment variables say."""

from __future__ import annotations

import os
from pathlib import Path


def cache_dir() -> Path:
    """`ZOO_CACHE`, else `detection-zoo` in the user's cache folder; it need not exist yet."""
    chosen = os.environ.get("ZOO_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "detection-zoo"


def require_full_hash() -> bool:
    """`ZOO_REQUIRE_FULL_HASH`: whether files of which only a part of the hash is known are refused."""
    return os.environ.get("ZOO_REQUIRE_FULL_HASH", "") not in ("", "0")


def hub_endpoint() -> str:
    """`HF_ENDPOINT`, else Hugging Face itself; without a slash at the end."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def hub_token() -> str | None:
    """`HF_TOKEN`, or the older `HUGGING_FACE_HUB_TOKEN`."""
    return os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN") or None

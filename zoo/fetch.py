"""Names -> verified files in the cache. Cheap to import: what needs the network is imported when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import FetchError, UnknownModel

if TYPE_CHECKING:
    from zoo.entry import Entry
    from zoo.files.remote import RemoteFile
    from zoo.files.transfer import Progress


def fetch(name: str, *, mirrors: Sequence[str] = (), progress: Progress | None = None) -> Path:
    """The verified checkpoint of a model (or alias, or backbone key such as `torchvision://resnet50`), as a local file.

    mirrors: URLs or folders that are asked before the published hosts. progress: called with (bytes so far, bytes in
    all if known). Raises UnknownModel, and FetchError with what each mirror said.
    """
    from zoo.files.obtain import obtain

    if (local := local_file(name)) is not None:
        return local
    return obtain(remote_file(name), mirrors, progress)


def fetch_log(name: str, *, mirrors: Sequence[str] = (), progress: Progress | None = None) -> Path:
    """The training log of a model. Logs were published without a hash: the first download is trusted, then locked."""
    from zoo.files.obtain import obtain

    return obtain(log_file(name), mirrors, progress)


def cached_path(entry: Entry) -> Path | None:
    """The model's file if it is in the cache and untouched since it was verified, else None; nothing is hashed."""
    from zoo.files import cache, lock

    if entry.checkpoint is None:
        return None
    if entry.checkpoint.file is not None:
        return entry.checkpoint.file if entry.checkpoint.file.is_file() else None
    remote = remote_of(entry)
    digest = cache.known_digest(path := cache.location(remote))
    return path if digest is not None and lock.expected(remote).mismatch(digest) is None else None


def remote_file(name: str) -> RemoteFile:
    """What the manifests say about the file of a model or backbone. Raises UnknownModel, FetchError."""
    return backbone_file(name) if "://" in name else remote_of(get_entry(name))


def remote_of(entry: Entry) -> RemoteFile:
    """The published file of an entry. Raises FetchError where there is none."""
    from zoo.files.remote import published

    if entry.checkpoint is None:
        raise FetchError(f"no weights were ever published for {entry.name}.")
    file = entry.checkpoint
    return published(file.path, file.urls, file.sha256, file.md5)


def local_file(name: str) -> Path | None:
    """The file of a model of the user's own that needs no fetching. Raises FetchError when it is missing."""
    checkpoint = get_entry(name).checkpoint if "://" not in name else None
    file = checkpoint.file if checkpoint is not None else None
    if file is not None and not file.is_file():
        raise FetchError(f"{name} is said to be in {file}, which does not exist.")
    return file


def log_file(name: str) -> RemoteFile:
    """Where the training log of a model lies. Raises UnknownModel, FetchError."""
    from urllib.parse import urlsplit

    from zoo.files.remote import published

    entry = get_entry(name)
    if entry.log_url is None:
        raise FetchError(f"no training log was published for {entry.name}.")
    path = urlsplit(entry.log_url).path.lstrip("/")
    return published(path, entry.log_urls)


def backbone_file(key: str) -> RemoteFile:
    """The pretrained weights with this key. Raises UnknownModel, FetchError."""
    from zoo.files.remote import published
    from zoo.manifest import catalog

    if key not in catalog().backbones:
        raise UnknownModel(f"no backbone '{key}'; `zoo list --backbones` shows all keys.")
    backbone = catalog().backbone(key)
    if not backbone.url:
        raise FetchError(f"the manifests do not say where the weights {key} may be had.")
    return published(backbone.url, (backbone.url,), backbone.sha256)


def get_entry(name: str) -> Entry:
    """The entry of a model. Raises UnknownModel."""
    from zoo.manifest import get

    return get(name)

"""Names -> verified files in the cache. Cheap to import: what needs the network is imported when it is used."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import FetchError

if TYPE_CHECKING:
    from zoo.download.remote_file import RemoteFile
    from zoo.download.transfer import Progress
    from zoo.manifest.entry import Entry


def fetch(name: str, *, mirrors: Sequence[str] = (), progress: Progress | None = None) -> Path:
    """Download the weights of a model into the cache, unless they are already there, and verify them.

    Args:
        name: A model, an alias, or the key of a backbone such as `torchvision://resnet50`.
        mirrors: URLs or folders that are tried before the published hosts.
        progress: Called with (bytes so far, total bytes if known); default: a progress bar on the terminal.

    Returns:
        The verified file.

    Raises:
        UnknownModel: No model has this name.
        FetchError: No mirror served the file; the message lists the response of each one.

    Examples:
        >>> import zoo
        >>> zoo.fetch("demo_yolox").name  # comes with the package
        'demo_yolox-4f194027.pth'
    """
    from zoo.download.locations import backbone_file, is_backbone, model_file
    from zoo.manifest.api import get

    if is_backbone(name):
        return obtain(backbone_file(name), mirrors, progress)
    entry = get(name)
    return local_file(entry) or obtain(model_file(entry), mirrors, progress)


def fetch_log(name: str, *, mirrors: Sequence[str] = (), progress: Progress | None = None) -> Path:
    """The training log of a model. Logs were published without a hash: the first download is trusted, then locked."""
    from zoo.download.locations import log_file
    from zoo.manifest.api import get

    return obtain(log_file(get(name)), mirrors, progress)


def obtain(remote: RemoteFile, mirrors: Sequence[str], progress: Progress | None) -> Path:
    """The verified file in the cache, with a progress bar unless there is something better."""
    from zoo.download import fetch_file as files
    from zoo.download.progress import bar

    return files.obtain(remote, mirrors, progress or bar(remote))


def cached_path(entry: Entry) -> Path | None:
    """The model's file if it is in the cache and untouched since it was verified, else None; nothing is hashed."""
    from zoo.download.locations import model_file

    if entry.checkpoint is None:
        return None
    if (own := entry.checkpoint.own_file) is not None:
        return own if own.is_file() else None
    remote = model_file(entry)
    return next((path for file in (remote, *remote.alternates) if (path := in_cache(file))), None)


def in_cache(remote: RemoteFile) -> Path | None:
    """A file of the cache that is as it was verified."""
    from zoo.download import cache, lock

    digest = cache.known_digest(path := cache.location(remote))
    return path if digest is not None and lock.expected(remote).mismatch(digest) is None else None


def local_file(entry: Entry) -> Path | None:
    """The file of a model of the user's own that needs no fetching. Raises FetchError when it is missing."""
    file = entry.checkpoint.own_file if entry.checkpoint is not None else None
    if file is not None and not file.is_file():
        raise FetchError(f"{entry.name} is said to be in {file}, which does not exist.")
    return file

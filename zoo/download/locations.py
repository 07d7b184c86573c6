"""What the manifests say about files -> `RemoteFile`s: where each was published, and its place in the cache.

The cache and the mirrors that users make keep the layout of the original host (`mmdetection/v2.0/retinanet/...`,
`pretrain/third_party/...`); files of other hosts lie below the host's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from zoo.download.remote_file import RemoteFile, safe_path
from zoo.errors import FetchError, UnknownModel
from zoo.manifest import api
from zoo.manifest.entry import Entry, Mirror


def model_file(entry: Entry) -> RemoteFile:
    """The weights of a model. Raises FetchError where none were published."""
    file = entry.checkpoint
    if file is None:
        raise FetchError(f"no weights were ever published for {entry.name}.")
    if file.file is not None:
        return RemoteFile(safe_path(f"{entry.origin}/{file.filename}"), (file.file.as_uri(),), file.sha256, file.md5)
    return remote(file.path, file.urls, file.sha256, file.md5)


def log_file(entry: Entry) -> RemoteFile:
    """The training log of a model. Raises FetchError where none was published."""
    if entry.log_url is None:
        raise FetchError(f"no training log was published for {entry.name}.")
    return remote(entry.log_url, entry.log_urls or (entry.log_url,))


def is_backbone(name: str) -> bool:
    """Whether a name is the key of a backbone, such as `torchvision://resnet50`, and not of a model."""
    return "://" in name or name in api.catalog().backbones


def backbone_file(key: str) -> RemoteFile:
    """The weights that training started from. Raises UnknownModel, FetchError."""
    known = api.catalog()
    if key not in known.backbones:
        raise UnknownModel(f"no backbone '{key}'. `zoo list --backbones` shows all keys.")
    backbone = known.backbone(key)
    if not backbone.url:
        raise FetchError(f"nothing says where the weights {key} may be had.")
    return remote(backbone.url, (backbone.url, *elsewhere(backbone.url)), backbone.sha256)


def remote(location: str, urls: Sequence[str], sha256: str | None = None, md5: str | None = None) -> RemoteFile:
    """A file from a manifest's `path`, which is relative to the mirrors or a whole URL."""
    host = original()
    path = f"{urlsplit(host.url).path}/{location}" if host and "://" not in location else location
    parts = urlsplit(path)
    if parts.netloc:
        same = host is not None and parts.netloc == urlsplit(host.url).netloc
        path = parts.path if same else f"{parts.netloc}/{parts.path}"
    path = safe_path(unquote(path))
    return RemoteFile(path, tuple(urls), sha256, md5, also=also(path))


def original() -> Mirror | None:
    """The host of the published links."""
    return next((mirror for mirror in api.mirrors() if mirror.original), None)


def elsewhere(url: str) -> list[str]:
    """A file of the original host on the hosts that mirror it."""
    host = original()
    if host is None or urlsplit(url).netloc != urlsplit(host.url).netloc:
        return []
    others = [urlsplit(mirror.url) for mirror in api.mirrors() if not mirror.original]
    return [f"{other.scheme}://{other.netloc}{urlsplit(url).path}" for other in others]


def also(path: str) -> tuple[str, ...]:
    """Other places where a user's own mirror may keep a file: below the original's folder, or all in one folder."""
    host = original()
    prefix = urlsplit(host.url).path.strip("/") + "/" if host else ""
    return tuple(dict.fromkeys([path.removeprefix(prefix), path.rsplit("/", 1)[-1]]))

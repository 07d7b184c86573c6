"""What the manifests say about files -> `RemoteFile`s: where each was published, and its path in the cache.

The cache and the mirrors that users make keep the layout of the original host (`mmdetection/v2.0/retinanet/...`,
`pretrain/third_party/...`); files of other hosts lie below the host's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import unquote, urlsplit

from zoo.download.remote_file import RemoteFile, safe_path
from zoo.errors import FetchError, UnknownModel
from zoo.manifest import api, hosts
from zoo.manifest.entry import Checkpoint, Entry, Substitute


def model_file(entry: Entry) -> RemoteFile:
    """The weights of a model, with the other files that hold the same. Raises FetchError where none were published."""
    if entry.checkpoint is None:
        raise FetchError(f"no weights were ever published for {entry.name}.")
    others = tuple(checkpoint_file(entry, file) for file in entry.alternates)
    return replace(checkpoint_file(entry, entry.checkpoint), alternates=others, advice=advice(entry))


def checkpoint_file(entry: Entry, file: Checkpoint) -> RemoteFile:
    """One of the files of a model."""
    if file.file is not None:
        return RemoteFile(safe_path(f"{entry.origin}/{file.filename}"), (file.file.as_uri(),), file.sha256, file.md5)
    return remote(file.path, file.urls, file.sha256, file.md5)


def advice(entry: Entry) -> str:
    """Which other weights of the same method there are, as a sentence."""
    if not entry.substitutes:
        return f"No other weights are known that could stand in for {entry.name}."
    return f"Other weights of the same method: {'; '.join(map(substitute_text, entry.substitutes))}."


def substitute_text(other: Substitute) -> str:
    """Name, metrics and license in a few words, and the address of what is not a model of the zoo."""
    facts = [*(f"{metric} {value:g}" for metric, value in other.metrics.items()), other.license or "license unknown"]
    return f"{other.name} ({', '.join(facts)}{f', {other.url}' if other.url else ''})"


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
        raise FetchError(f"no download location is known for the weights {key}.")
    return remote(backbone.url, known.urls(backbone.url), backbone.sha256)


def remote(location: str, urls: Sequence[str], sha256: str | None = None, md5: str | None = None) -> RemoteFile:
    """A file from a manifest's `path`, which is relative to the mirrors or a whole URL."""
    known = api.catalog()
    host = hosts.original(known.mirrors)
    location = hosts.web_address(location)
    path = f"{urlsplit(host.url).path}/{location}" if host and "://" not in location else location
    parts = urlsplit(path)
    if parts.netloc:
        same = host is not None and parts.netloc == urlsplit(host.url).netloc
        path = parts.path if same else f"{parts.netloc}/{parts.path}"
    path = safe_path(unquote(path))
    return RemoteFile(path, tuple(urls), known.sha256(path) or sha256, md5, also=also(path))


def also(path: str) -> tuple[str, ...]:
    """Other paths where a user's own mirror may keep a file: below the original's folder, or all in one folder."""
    host = hosts.original(api.mirrors())
    prefix = urlsplit(host.url).path.strip("/") + "/" if host else ""
    return tuple(dict.fromkeys([path.removeprefix(prefix), path.rsplit("/", 1)[-1]]))

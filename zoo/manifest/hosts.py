"""Where a published file may be had: the addresses that each mirror gives a path.

A mirror serves every published path below its `url`, but for what it `lacks`, or only the `files` and `renamed` that it
lists, which are recognized by their names. What stands in front of the published path (a repository on the Hub, the
prefix of an archive) makes no difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from zoo.errors import UsageError
from zoo.manifest.entry import Mirror, file_name

HUB = "https://huggingface.co"


def web_address(url: str) -> str:
    """`hf://OWNER/REPO[/FILE][@REVISION]` as the address of the file, or of the repository's files, on the Hub.

    Everything else stays as it is. Raises UsageError for an address without a repository.
    """
    if not url.startswith("hf://"):
        return url
    path, _, revision = url.removeprefix("hf://").partition("@")
    owner, _, rest = path.partition("/")
    repository, _, file = rest.partition("/")
    if not owner or not repository:
        raise UsageError(f"'{url}' names no repository; write hf://OWNER/REPO/FILE@REVISION.")
    revision, _, folder = revision.partition("/")  # a slash behind the revision, where the file would be
    return "/".join([HUB, owner, repository, "resolve", revision or "main", *filter(None, (file, folder))])


def urls(path: str, mirrors: Sequence[Mirror]) -> tuple[str, ...]:
    """The addresses of a published path in the order to try; `path` is below the original's root, or a whole URL."""
    path = web_address(path)
    name = file_name(path)
    if "://" not in path:
        return tuple(url for mirror in mirrors if (url := below(mirror, path, name)))
    host = original(mirrors)
    if host is not None and is_published_by(path, host):
        absolute = urlsplit(path).path
        return tuple(url for mirror in mirrors if (url := by_name(mirror, name, root(mirror, host) + absolute)))
    return (path, *(url for mirror in mirrors if (url := by_name(mirror, name, None))))


def below(mirror: Mirror, path: str, name: str) -> str | None:
    """Where one mirror should have a path below the original's root, if anywhere."""
    if mirror.lacks and any(fnmatchcase(path, pattern) for pattern in mirror.lacks):
        return None
    return by_name(mirror, name, mirror.url + path)


def by_name(mirror: Mirror, name: str, otherwise: str | None) -> str | None:
    """The address of a file on a mirror that lists what it has; `otherwise` on others."""
    if not mirror.listed:
        return otherwise
    return mirror.url + mirror.listed[name] if name in mirror.listed else None


def original(mirrors: Sequence[Mirror]) -> Mirror | None:
    """The host of the published links."""
    return next((mirror for mirror in mirrors if mirror.original), None)


def is_published_by(url: str, host: Mirror) -> bool:
    """Whether a URL is on the original host, where other mirrors may have it too."""
    return urlsplit(url).netloc == urlsplit(host.url).netloc


def root(mirror: Mirror, host: Mirror) -> str:
    """What stands in front of the original's absolute paths (`/mmdetection/...`, `/pretrain/...`) on a mirror."""
    return mirror.url.removesuffix("/").removesuffix(urlsplit(host.url).path.rstrip("/"))

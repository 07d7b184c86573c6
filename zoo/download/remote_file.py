"""A file that may be fetched: where mirrors keep it, and what it must hash to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urlsplit

from zoo import settings
from zoo.errors import UsageError
from zoo.manifest.hosts import web_address


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A published file.

    path: its path below a mirror's root, and below the cache: relative, with `/`. urls: where it may be had, in the
    order to try. sha256, md5: the published digest or its first hex digits; None where nothing was published. also:
    other paths under which a user's own mirror may have it. alternates: other files of the same weights, which will do
    where this one cannot be had. advice: a sentence for when none can.
    """

    path: str
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    also: tuple[str, ...] = ()
    alternates: tuple[RemoteFile, ...] = ()
    advice: str = ""

    @property
    def name(self) -> str:
        """The file name."""
        return self.path.rsplit("/", 1)[-1]

    def at(self, path: Path) -> RemoteFile:
        """This file, or the alternate that lies at `path` of the cache."""
        return next((file for file in self.alternates if path.as_posix().endswith(f"/{file.path}")), self)


def safe_path(path: str) -> str:
    """`path` without empty parts. Raises UsageError for one that would leave the folder it is joined to."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or any(part == ".." or "\\" in part or ":" in part or "\0" in part for part in parts):
        raise UsageError(f"'{path}' is not a path below a mirror.")
    return str(PurePosixPath(*parts))


def user_mirrors(given: Sequence[str] = ()) -> list[str]:
    """The user's own mirrors: `given`, then `ZOO_MIRRORS` (separated by blanks or commas)."""
    return [base_url(mirror) for mirror in [*given, *settings.mirrors()]]


def base_url(mirror: str) -> str:
    """A mirror's root as a URL without its last slash; a folder becomes a `file://` URL. Raises UsageError."""
    try:
        mirror = web_address(mirror)
        scheme = urlsplit(mirror).scheme
    except ValueError as error:
        raise UsageError(f"the mirror '{mirror}' is not an address: {error}.") from None
    if scheme in ("http", "https", "file"):
        return mirror.rstrip("/")
    if "://" in mirror:
        raise UsageError(f"the mirror '{mirror}' is neither http(s)://, hf://, file:// nor a folder.")
    return Path(mirror).expanduser().absolute().as_uri()


def candidates(remote: RemoteFile, mirrors: Sequence[str] = ()) -> dict[str, str]:
    """Every URL to try, in order, the user's mirrors first -> how messages call the mirror."""
    paths = (remote.path, *remote.also)
    own = {f"{mirror}/{quote(path)}": label(mirror) for mirror in user_mirrors(mirrors) for path in paths}
    return own | {url: label(url) for url in remote.urls if url not in own}


def label(url: str) -> str:
    """The host of a URL, without a password, or a local one as it is."""
    return urlsplit(url).netloc.rpartition("@")[2] or url

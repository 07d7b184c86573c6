"""The whole SHA-256 of files in Hugging Face repositories, as the Hub itself publishes them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from zoo.download import hub, lock
from zoo.download.digest import Digest
from zoo.download.remote_file import RemoteFile
from zoo.download.request import ask
from zoo.download.response import check_status, number
from zoo.download.stream import Refusal
from zoo.errors import FetchError
from zoo.settings import download_policy


def published_digest(url: str) -> Digest | None:
    """The whole SHA-256 and the size that the Hub states for a large file, or None. Raises Refusal."""
    with ask("HEAD", url, {}, hops=0) as response:
        if response.status_code >= 400:
            check_status(response)
        tag = response.headers.get("X-Linked-Etag", "").strip('"')
        size = number(response.headers.get("X-Linked-Size"))
    return Digest(tag, size) if re.fullmatch("[0-9a-f]{64}", tag) and size is not None else None


def published(remotes: Iterable[RemoteFile]) -> tuple[dict[str, Digest], dict[str, str]]:
    """Path -> digest for every file that the Hub has as it was published, and path -> why not for others that it has.

    Files without an address on the Hub are left out. Raises FetchError when ZOO_OFFLINE is set.
    """
    if download_policy().offline:
        raise FetchError("the Hub cannot be asked while ZOO_OFFLINE is set.")
    result, problems = {}, {}
    for remote in remotes:
        for url in filter(hub.is_hub, remote.urls):
            try:
                result[remote.path] = confirmed(remote, url)
            except Refusal as refusal:
                problems[remote.path] = str(refusal)
    return result, {path: reason for path, reason in problems.items() if path not in result}


def confirmed(remote: RemoteFile, url: str) -> Digest:
    """The digest that the Hub states, if it begins as the published one does. Raises Refusal."""
    digest = published_digest(url)
    if digest is None:
        raise Refusal("states no SHA-256")
    expected = lock.expected(remote)
    if not expected.needs_md5 and (problem := expected.mismatch(digest)):
        raise Refusal(f"states a file that {problem}")
    if expected.needs_md5 or expected.sha256 is None:
        raise Refusal("has a file that nothing published can be compared with")
    return digest

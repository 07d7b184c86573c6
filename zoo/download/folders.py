"""Folders of files as sources: what is in them, and which file has a wanted content under another name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from zoo.download import cache, lock
from zoo.download.remote_file import RemoteFile
from zoo.errors import FetchError

MOST_FILES = 100_000
"""How many files are looked at."""


def walk(paths: Iterable[Path]) -> Iterator[Path]:
    """The regular files of folders, and files as they are, sorted; links to folders are not followed."""
    for given in paths:
        if not given.is_dir():
            yield given
            continue
        for folder, folders, names in os.walk(given):
            folders.sort()
            yield from (path for name in sorted(names) if (path := Path(folder, name)).is_file())


def bounded(paths: Iterable[Path], most: int = MOST_FILES) -> list[Path]:
    """The files to look at. Raises FetchError for more than `most`."""
    result = list(islice(walk(paths), most + 1))
    if len(result) > most:
        raise FetchError(f"there are more than {most:,} files; name the folders or files that hold checkpoints.")
    return result


def renamed(folder: Path, remote: RemoteFile) -> Iterator[Path]:
    """Files of a folder whose content is the wanted one, under whatever name.

    Digests are remembered in the cache. Files that carry the digits of another hash in their names are passed over, so
    a mirror with the published names is not hashed.
    """
    expected = lock.expected(remote)
    if expected.sha256 is None and expected.md5 is None:
        return
    with suppress(FetchError):  # too many files
        for path in bounded([folder]):
            if not named_by_hash(path.name):
                with suppress(OSError):
                    digest = cache.foreign_digest(path)
                    if expected.mismatch(digest) is None:
                        yield path


def named_by_hash(name: str) -> bool:
    """Whether a name ends in the digits of a hash, as published ones do."""
    stem = Path(name).stem
    digits = stem.rpartition("-")[2]
    return len(digits) == 8 and all(digit in "0123456789abcdef" for digit in digits)

"""Hashing cached files again: is each still what was published and what was recorded?"""

from __future__ import annotations

import re
from dataclasses import dataclass

from zoo.download import cache, lock
from zoo.download import digest as digests
from zoo.download.cache import Cached
from zoo.download.digest import Expected
from zoo.download.remote_file import RemoteFile

PUBLISHED = re.compile(r"-([0-9a-f]{8})\.pth$")
"""The first digits of the SHA-256, as the reference's publishing script writes them into the name."""


@dataclass(frozen=True, slots=True)
class Audit:
    """One file's result. problem: None if it is intact, else what is wrong, as part of a sentence."""

    file: Cached
    problem: str | None


def audit(file: Cached) -> Audit:
    """Hash a file and compare it with the lock files, or else with the digits in its name."""
    digest = digests.of_file(file.path, with_md5=True)
    expected = lock.expected(RemoteFile(file.name))
    if expected.sha256 is None and (match := PUBLISHED.search(file.name)):
        expected = Expected(match[1], source="as its name tells")
    if problem := expected.mismatch(digest):
        return Audit(file, problem)
    if expected.sha256 is None:
        return Audit(file, "was never verified, and nothing tells what it should be")
    cache.mark_verified(file.path, digest)
    return Audit(file, None)

"""Lock files: the full SHA-256 of every file that was once verified, kept so that it can never silently change.

The published 8 hex digits catch corruption, not an attacker. The first verified download records the whole digest in
`zoo.lock` of the cache; from then on only that file is accepted. A team commits a lock file of its own (`zoo lock`):
`ZOO_LOCK`, or `zoo.lock` in the working directory, wins over the cache's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from zoo.download.digest import Digest, Expected
from zoo.download.remote_file import RemoteFile
from zoo.errors import UsageError
from zoo.settings import cache_dir, lock_file
from zoo.system.atomic_write import atomic_write

NAME = "zoo.lock"
SCHEMA = 1
WHOLE = re.compile("[0-9a-f]{64}")


def team_file() -> Path | None:
    """The lock file that the user's project keeps, if any."""
    here = Path(NAME)
    return lock_file() or (here if here.is_file() else None)


def read(path: Path) -> dict[str, Digest]:
    """Path of a published file -> its digest. A missing file is an empty one. Raises UsageError for a broken one."""
    try:
        content = json.loads(path.read_text())
        if content["schema"] != SCHEMA:
            raise UsageError(f"{path} has schema {content['schema']}; this version reads schema {SCHEMA}.")
        return {name: checked(facts["sha256"], facts["size"]) for name, facts in content["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise UsageError(f"{path} is not a lock file ({type(error).__name__}: {error}).") from None


def checked(sha256: object, size: object) -> Digest:
    """A whole digest. Raises ValueError for a shortened one, which would lock nothing."""
    if not isinstance(sha256, str) or not WHOLE.fullmatch(sha256) or type(size) is not int:
        raise ValueError(f"{sha256!r} is not a whole SHA-256 or {size!r} no size")
    return Digest(sha256, size)


def write(path: Path, files: Mapping[str, Digest]) -> None:
    """Replace a lock file, sorted, so that its differences read well in version control."""
    listed = {name: {"sha256": files[name].sha256, "size": files[name].size} for name in sorted(files)}
    atomic_write(path, json.dumps({"schema": SCHEMA, "files": listed}, indent=1) + "\n", parents=True)


def expected(remote: RemoteFile) -> Expected:
    """What the file must be: the digest that a lock file has, else the published one."""
    for path in (team_file(), cache_dir() / NAME):
        locked = read(path).get(remote.path) if path is not None else None
        if locked is not None:
            return Expected(locked.sha256, None, locked.size, f"as {path} has it")
    return Expected(remote.sha256, remote.md5, remote.size)


def record(remote: RemoteFile, digest: Digest) -> None:
    """Note a file that has just been verified in the cache's lock file, unless it is there."""
    path = cache_dir() / NAME
    if read(path).get(remote.path) == digest:
        return
    with exclusive(cache_dir() / ".zoo" / "locks" / f"{NAME}.lock"):
        write(path, {**read(path), remote.path: Digest(digest.sha256, digest.size)})


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Hold a lock between processes and threads, released by the system when its holder dies.

    Yields False where there can be no lock, on some file systems and in folders that may only be read: two downloads of
    one file may then both run, each into its own part.
    """
    from filelock import FileLock

    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (NotImplementedError, OSError):
        yield False
        return
    try:
        yield True
    finally:
        lock.release()

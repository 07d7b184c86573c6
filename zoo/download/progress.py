"""A progress bar for each download, on a terminal only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.download.remote_file import RemoteFile
from zoo.download.transfer import Progress

if TYPE_CHECKING:
    from tqdm import tqdm


def bar(remote: RemoteFile) -> Progress:
    """A callback that shows a bar on stderr from the first byte to the last."""
    shown: list[tqdm] = []

    def show(count: int, total: int | None) -> None:
        from tqdm import tqdm

        if not shown:
            shown.append(tqdm(total=total, unit="B", unit_scale=True, desc=remote.name[:40], leave=False, disable=None))
        shown[0].update(count - shown[0].n)
        if count == total:
            shown[0].close()

    return show

"""Whether a file can be an image, and all of one.

Where a file ends too early OpenCV fills what is not there with gray, and says nothing.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from PIL import Image

from zoo.errors import UnreadableImage

# What a file of a format begins with, and what stands at its end.
ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND"}
TAIL = 65536  # bytes in which the end is looked for: cameras and editors append data of their own


def truncated(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` is an image whose end is not there. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(8)
        end = next((end for start, end in ENDS.items() if head.startswith(start)), None)
        if end is None:
            return False
        file.seek(max(os.fstat(file.fileno()).st_size - TAIL, 0))
        return end not in file.read() and not decodes(path)


def decodes(source: str | os.PathLike[str]) -> bool:
    """Whether Pillow, which complains where OpenCV does not, decodes all of it: the end mark alone may be missing."""
    try:
        with Image.open(source) as image:
            image.load()
    except (OSError, ValueError, SyntaxError):
        return False
    return True


def require_regular(path: Path) -> None:
    """Raise UnreadableImage for what is not a file, such as a pipe, which would be waited for without end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise UnreadableImage(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(mode):
        raise UnreadableImage(f"{path}: is not a regular file")

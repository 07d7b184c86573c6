"""Whether an image file ends too early. OpenCV fills what is not there with gray, and says nothing."""

from __future__ import annotations

import io
import os

from PIL import Image

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


def truncated_bytes(content: bytes) -> bool:
    """The same for a file's content."""
    end = next((end for start, end in ENDS.items() if content.startswith(start)), None)
    return end is not None and content.rfind(end, -TAIL) < 0 and not decodes(io.BytesIO(content))


def decodes(source: str | os.PathLike[str] | io.BytesIO) -> bool:
    """Whether Pillow, which complains where OpenCV does not, decodes all of it: the end mark alone may be missing."""
    try:
        with Image.open(source) as image:
            image.load()
    except (OSError, ValueError, SyntaxError):
        return False
    return True

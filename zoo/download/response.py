"""What the header of a response says: is it the file, which part of which content, or why not?"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from zoo.download.stream import Refusal

if TYPE_CHECKING:
    from requests import Response

ETAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
"""A strong entity tag (RFC 9110, section 8.8.3)."""


def check_status(response: Response) -> None:
    """Raises Refusal for everything but 200 and 206."""
    status, reason = response.status_code, (response.reason or "").strip()
    if status in (200, 206):
        return
    said = f"{status} {reason}".strip()
    if why := hub_reason(response.headers):
        raise Refusal(f"answered {said}: {why}")
    if status == 416:
        raise Refusal(f"answered {said}", again=True, discard=True)
    if status == 429 or status >= 500:
        wait = retry_after(response.headers.get("Retry-After"))
        suffix = f" and wants a pause of {wait:.0f} seconds" if wait else ""
        raise Refusal(f"answered {said}{suffix}", again=True, wait=wait)
    raise Refusal(f"answered {said}")


HUB_REASONS = {
    "RepoNotFound": "the repository does not exist or is private; HF_TOKEN opens those that you may read",
    "GatedRepo": "the repository is gated; accept its terms on its page and set HF_TOKEN",
    "RevisionNotFound": "the repository has no such revision",
    "EntryNotFound": "the repository has no such file",
}
"""What the error codes of Hugging Face mean."""


def hub_reason(headers: Mapping[str, str]) -> str | None:
    """Why the Hub refused, by its headers; None if they do not tell."""
    return HUB_REASONS.get(headers.get("X-Error-Code", ""))


def retry_after(header: str | None) -> float:
    """Seconds that a Retry-After header (a number or a date) asks for; 0 without one."""
    if not header:
        return 0.0
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, OverflowError, OSError, TypeError):  # no date, or one that no clock can show
        return 0.0


def check_kind(response: Response) -> None:
    """Pages and re-encoded content are never the file. Raises Refusal."""
    if response.headers.get("Content-Type", "").lower().startswith(("text/html", "application/xhtml")):
        raise Refusal("answered with a web page instead of the file")
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        raise Refusal(f"sent the file encoded as {encoding}, which was not asked for")


def extent(response: Response, offset: int, validator: str | None) -> tuple[int, int | None, str | None]:
    """Where in the file the body of an accepted response starts, the size of the file, and its validator, if known.

    Raises Refusal for a range that does not continue what is there.
    """
    length = number(response.headers.get("Content-Length"))
    result = validator_of(response.headers)
    if response.status_code == 200:
        return 0, length, result
    if not (offset and validator):
        raise Refusal("answered with a part of the file that was not asked for")
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    span, _, total = rest.partition("/")
    begins = number(span.partition("-")[0])
    if unit != "bytes" or begins != offset or (result is not None and result != validator):
        raise Refusal("answered with another part of the file than was asked for", again=True, discard=True)
    return offset, number(total) or (offset + length if length is not None else None), validator


def validator_of(headers: Any) -> str | None:
    """A strong ETag, else the date of the last change."""
    if ETAG.fullmatch(etag := headers.get("ETag", "")):
        return etag
    date = headers.get("Last-Modified", "")
    return date if date.strip() and date.isascii() and date.isprintable() else None


def number(text: str | None) -> int | None:
    """A non-negative integer in a header, or None; no file has a size of more than 18 digits."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 18 else None

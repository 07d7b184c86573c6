"""Sanitize untrusted text for terminal output."""

from __future__ import annotations


def printable(text: str, limit: int = 400, keep: str = "") -> str:
    """`text` without control characters, which could steer a terminal or forge lines, and not longer than `limit`.

    keep: control characters that may stay, such as a newline.
    """
    shown = text if len(text) <= limit else f"{text[:limit]}..."
    if shown.isprintable():
        return shown
    return "".join(sign if sign.isprintable() or sign in keep else ascii(sign)[1:-1] for sign in shown)

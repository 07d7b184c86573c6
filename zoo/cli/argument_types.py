"""Numbers on a command line, for `type=` of argparse."""

from __future__ import annotations

import argparse


def natural(text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not a whole number")
    return int(text)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if natural(text) == 0:
        raise argparse.ArgumentTypeError("at least 1, not 0")
    return int(text)

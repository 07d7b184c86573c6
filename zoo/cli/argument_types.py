"""Values on a command line: numbers for `type=` of argparse, and pairs."""

from __future__ import annotations

import argparse

from zoo.errors import UsageError


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


def key_value(text: str, option: str = "--set") -> tuple[str, str]:
    """('a', '1') from 'a=1'. Raises UsageError where there is no '='."""
    key, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"{option} takes KEY=VALUE, not '{text}'.")
    return key, value

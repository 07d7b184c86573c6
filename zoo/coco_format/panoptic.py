"""How panoptic maps number what they hold."""

from __future__ import annotations

INSTANCE = 1000
"""Panoptic maps hold label + INSTANCE * instance."""

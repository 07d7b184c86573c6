"""Heads that predict at every cell of a feature pyramid."""

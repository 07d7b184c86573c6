"""Heads that predict at every place of a feature pyramid."""

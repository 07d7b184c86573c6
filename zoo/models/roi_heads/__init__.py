"""Heads that look at regions of interest."""

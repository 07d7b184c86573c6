"""Measurements of this project's own parts against a rival, interleaved in one run."""

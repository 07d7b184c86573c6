"""Measurements of this project's own parts against a peer, interleaved in one run."""

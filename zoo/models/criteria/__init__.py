"""Assigners, samplers, box coders and losses."""

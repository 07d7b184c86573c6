"""Samplers: which of the assigned priors or regions are learned from."""

"""Measurements as records: storage, selection, baselines and regression checks."""

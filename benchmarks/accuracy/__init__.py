"""Accuracy of a model on a dataset."""

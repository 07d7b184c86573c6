"""Priors: the anchors or points that a dense head predicts from."""

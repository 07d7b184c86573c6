"""Whole detectors: backbone, neck and heads."""

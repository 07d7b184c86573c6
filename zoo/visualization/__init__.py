"""Drawings of detections."""

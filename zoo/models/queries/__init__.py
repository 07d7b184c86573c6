"""Transformers over object queries."""

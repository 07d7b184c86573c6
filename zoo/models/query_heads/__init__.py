"""Heads that predict from queries."""

"""Rename tables: data, one YAML file per origin of a checkpoint."""

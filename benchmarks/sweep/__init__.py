"""Many models, one process each, resumable."""

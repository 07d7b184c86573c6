"""Checkpoint files to tensors, one module per file format, without running anything that a file says."""

"""Training: trainer, recipe, data, optimizer, checkpoints and logs."""

"""Programs that run in the environments of other implementations."""

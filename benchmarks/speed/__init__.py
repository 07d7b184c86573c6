"""Speed, latency and memory of a model."""

"""The benchmark harness and the `bench` command."""

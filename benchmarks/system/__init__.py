"""The machine a measurement ran on: environment, memory, clocks and NVML."""

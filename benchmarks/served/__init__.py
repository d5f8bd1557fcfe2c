"""Models that benchmarks serve in place of our own; each file is a Triton model."""

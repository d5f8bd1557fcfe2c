"""``python -m benchmarks.soak``: mixed load for half an hour, while processes are killed and resources run out."""

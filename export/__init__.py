"""From a checkpoint folder to a complete Triton model repository."""

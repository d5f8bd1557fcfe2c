"""Ways to run the model repository."""

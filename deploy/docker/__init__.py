"""Scripts that the images run; each one uses only the standard library."""

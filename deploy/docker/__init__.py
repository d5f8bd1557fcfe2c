"""What the images run; each file is a script of its own, of the standard library alone."""

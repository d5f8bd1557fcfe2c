"""Trains the miniature checkpoint on the drawn world, one network after the other."""

"""Trains the miniature checkpoint on the little world, one network after the other."""

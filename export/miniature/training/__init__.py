"""Trains the miniature checkpoint on the avatar world, one network after the other."""

"""Holding one way of running a repository against another: each engine, then whole pictures."""

"""Comparing two ways of running a repository: each engine, then whole pictures."""

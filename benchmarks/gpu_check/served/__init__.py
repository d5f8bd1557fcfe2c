"""Models for the repository that is served: they run in Triton's stubs, not here."""

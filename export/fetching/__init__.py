"""The published weights, from where they are published into the folders that `Checkpoint` reads."""

"""Downloads the published weights into the folders that `Checkpoint` reads."""

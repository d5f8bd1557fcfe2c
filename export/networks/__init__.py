"""Each engine as a PyTorch module whose ``forward`` has the engine's inputs and outputs, in the table's order."""

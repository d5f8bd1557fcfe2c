"""What export can end with; the command line prints these in one line."""


class ExportError(Exception):
    """Root of the tree."""


class CheckpointError(ExportError):
    """The checkpoint folder lacks something or its parts do not fit together."""


class ParityError(ExportError):
    """An exported network differs from its PyTorch module by more than its tolerance."""

"""Export's errors; the command line prints them in one line."""


class ExportError(Exception):
    """Base class."""


class CheckpointError(ExportError):
    """The checkpoint folder is incomplete, or its parts do not fit together."""


class ParityError(ExportError):
    """An exported network differs from its PyTorch module by more than its tolerance."""

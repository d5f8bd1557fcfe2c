"""What fetching can end with; each says in one line what to do."""

from ..errors import ExportError


class FetchError(ExportError):
    """Root of fetching's part of the tree."""


class Unreachable(FetchError):
    """The network or the other side does not answer; what has arrived stays, and the next run goes on from it."""


class AccessDenied(FetchError):
    """The other side wants a token, or one with more rights."""


class NotPublished(FetchError):
    """There is no such repository, revision or file."""


class ChecksumMismatch(FetchError):
    """What arrived is not what was published; it has been deleted."""


class NoSpace(FetchError):
    """The disk is too small, or has become full."""


class LicenceRefused(FetchError):
    """Nobody has accepted the licences."""


class ForeignFile(FetchError):
    """A file is in the way that did not come from here; it is left as it is."""

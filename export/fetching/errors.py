"""The errors of fetching; each says in one line what to do."""

from ..errors import ExportError


class FetchError(ExportError):
    """Base class of fetching's errors."""


class Unreachable(FetchError):
    """The network or the server does not answer; partial downloads stay, and the next run resumes them."""


class AccessDenied(FetchError):
    """The server requires a token, or one with more rights."""


class NotPublished(FetchError):
    """There is no such repository, revision or file."""


class ChecksumMismatch(FetchError):
    """A downloaded file is not the published one; it has been deleted."""


class NoSpace(FetchError):
    """The disk is too small or full."""


class LicenceRefused(FetchError):
    """The licences were not accepted."""


class ForeignFile(FetchError):
    """A file that was not downloaded here is in the way; it is left unchanged."""

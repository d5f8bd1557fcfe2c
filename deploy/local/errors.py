"""The errors of starting a local Triton: one sentence on what happened, one on what to do."""


class LocalTritonError(Exception):
    """Base class; ``what`` happened and the ``remedy`` are a sentence each."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}"


class PreflightError(LocalTritonError):
    """This machine cannot run the server in its present state."""


class UnsupportedProcessor(PreflightError):
    """Not Linux on x86-64."""


class GlibcTooOld(PreflightError):
    """The C library is not glibc, or too old for the server."""


class UnsupportedPython(PreflightError):
    """The wheel has no stub process for this interpreter."""


class LibpythonMissing(PreflightError):
    """The interpreter lacks the shared library that the stub process links."""


class SharedMemoryTooSmall(PreflightError):
    """/dev/shm, used to pass tensors, is too small."""


class PortTaken(PreflightError):
    """Another process listens on one of the server's ports."""


class AddressRefused(PreflightError):
    """The server may not listen on an address or a port."""


class PathRefused(PreflightError):
    """A path has characters that the server's programs cannot handle, and no link to it can be made."""


class RepositoryMissing(PreflightError):
    """The given folder holds no model."""


class DownloadFailed(LocalTritonError):
    """The wheel could not be fetched or unpacked."""


class StartFailed(LocalTritonError):
    """The server exited, or did not become ready in time."""

"""What can go wrong before and while a local Triton starts: one sentence what, one what to do."""


class LocalTritonError(Exception):
    """Root of the tree; ``what`` happened and the ``remedy`` are a sentence each."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}\n{self.remedy}"


class PreflightError(LocalTritonError):
    """This machine, as it is now, cannot run the server."""


class UnsupportedProcessor(PreflightError):
    """Not Linux on x86-64."""


class GlibcTooOld(PreflightError):
    """The C library is older than the server's, or another one."""


class UnsupportedPython(PreflightError):
    """The wheel has no stub process for this interpreter."""


class LibpythonMissing(PreflightError):
    """The interpreter comes without the shared library that the stub process links."""


class SharedMemoryTooSmall(PreflightError):
    """/dev/shm, through which tensors travel, has too little room."""


class PortTaken(PreflightError):
    """Another process listens on one of the server's ports."""


class AddressRefused(PreflightError):
    """The server may not listen on an address or a port."""


class PathRefused(PreflightError):
    """A path has signs that the server's programs cannot take, and nothing can be done about it here."""


class RepositoryMissing(PreflightError):
    """The given folder holds no model."""


class DownloadFailed(LocalTritonError):
    """The wheel could not be fetched or unpacked."""


class StartFailed(LocalTritonError):
    """The server ended, or did not become ready in time."""

"""Queries to the hub: a revision's files and their URLs. Its failures become one line each."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from huggingface_hub import HfApi, hf_hub_url
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers

from .errors import AccessDenied, FetchError, NoSpace, NotPublished, Unreachable

_TIMEOUT_S = 30.0
IDENTITY = {"Accept-Encoding": "identity"}
"""No compression: a compressed response could not be resumed."""


@dataclass(frozen=True)
class HubFile:
    """A file of a revision: its size in bytes, and its digest as in `transfer.digests`."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True)
class Listing:
    """A revision's files; ``revision`` is the commit, even if a branch was asked for."""

    revision: str
    licence: str | None
    files: tuple[HubFile, ...]


class Hub:
    """A hub; ``endpoint`` None: HF_ENDPOINT, or huggingface.co."""

    def __init__(self, endpoint: str | None = None) -> None:
        self.api = HfApi(endpoint=endpoint.rstrip("/") if endpoint else None)

    def listing(self, repo: str, revision: str | None) -> Listing:
        """Return the files of ``repo`` at ``revision``, or at the newest commit."""
        with readable_errors(f"{repo}{f' at {revision}' if revision else ''}"):
            info = self.api.model_info(repo, revision=revision, files_metadata=True, timeout=_TIMEOUT_S)
        files = tuple(
            HubFile(
                path=_inside(repo, sibling.rfilename),
                size=sibling.size or 0,
                digest=f"sha256:{sibling.lfs.sha256}" if sibling.lfs else f"git:{sibling.blob_id}",
            )
            for sibling in info.siblings or ()
        )
        return Listing(info.sha or "", getattr(info.card_data, "license", None), files)

    def url(self, repo: str, revision: str, path: str) -> str:
        """Return a file's URL."""
        return hf_hub_url(repo, path, revision=revision, endpoint=self.api.endpoint)

    def headers(self) -> dict[str, str]:
        """Return the headers that a download needs; the token is HF_TOKEN, or the one of ``hf auth login``."""
        return build_hf_headers() | IDENTITY


def _inside(repo: str, path: str) -> str:
    """Reject names that would lead out of the folder: a mirror cannot be trusted."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or "\\" in path:
        raise FetchError(f"{repo} lists a file with a hostile name: {path!r}")
    return path


@contextmanager
def readable_errors(what: str) -> Iterator[None]:
    """Turn the failures of huggingface_hub and of the network into `FetchError`, in one line about ``what``."""
    try:
        yield
    except GatedRepoError as error:
        raise AccessDenied(
            f"{what} is gated: accept its licence on its page, then set HF_TOKEN to a token of that account"
        ) from error
    except RepositoryNotFoundError as error:
        raise AccessDenied(f"{what} does not exist, or is private: check the name, or set HF_TOKEN") from error
    except RevisionNotFoundError as error:
        raise NotPublished(f"{what}: there is no such revision") from error
    except EntryNotFoundError as error:
        raise NotPublished(f"{what} is not published there (404)") from error
    except HfHubHTTPError as error:
        raise _from_status(what, error.response.status_code) from error
    except HFValidationError as error:
        raise FetchError(f"{what} is not the name of a repository") from error
    except OfflineModeIsEnabled as error:
        raise Unreachable(f"{what}: HF_HUB_OFFLINE is set, so nothing is downloaded") from error
    except HTTPError as error:
        raise Unreachable(
            f"{what}: no connection ({type(error).__name__}: {error}); run again, and it goes on where it stopped"
        ) from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoSpace(f"{what}: the disk is full; make room and run again") from error
        if error.errno is None:  # huggingface_hub's word for a file that ends early
            raise Unreachable(f"{what}: it did not arrive whole; run again, and it goes on where it stopped") from error
        raise


def _from_status(what: str, status: int) -> FetchError:
    if status in (401, 403):
        return AccessDenied(f"{what} is not open to you ({status}): set HF_TOKEN to a token that may read it")
    if status == 404:
        return NotPublished(f"{what} is not published there (404)")
    return Unreachable(f"{what}: the other side answered {status}; run again, and it goes on where it stopped")

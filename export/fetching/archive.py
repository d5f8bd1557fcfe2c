"""Extracting single files from a zip. Names in the archive are only compared, never used as paths."""

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from .errors import FetchError

_LARGEST = 2_000_000_000
"""Maximum size of an extracted file in bytes: the published ones have 0.26 GB."""


def extract(archive: Path, name: str, target: Path) -> None:
    """Extract the file called ``name``, from any folder of the archive, to ``target``.

    The published archive contains a folder with its own name.
    """
    try:
        with zipfile.ZipFile(archive) as content:
            member = _member(content, name)
            with content.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise FetchError(f"{archive} cannot be unpacked: {error}") from error


def _member(content: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    found = [member for member in content.infolist() if PurePosixPath(member.filename).name == name]
    found = [member for member in found if not member.is_dir()]
    if len(found) != 1:
        raise FetchError(f"{content.filename} holds {len(found)} files called {name}, not one")
    if found[0].file_size > _LARGEST:
        raise FetchError(f"{content.filename}: {name} would unpack to {found[0].file_size} bytes")
    return found[0]

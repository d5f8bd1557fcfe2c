"""The folder of uploads and pictures, and its clean-up, also after a killed process."""

import asyncio
import atexit
import os
import shutil
import tempfile
import time
from pathlib import Path

SWEEP_S = 60
_PREFIX = "insta-depth-page-"


def use_private_folder() -> None:
    """Keep uploads where no other user of the machine and no other Gradio app can read them."""
    if "GRADIO_TEMP_DIR" not in os.environ:
        folder = tempfile.mkdtemp(prefix=_PREFIX)
        os.environ["GRADIO_TEMP_DIR"] = folder
        atexit.register(shutil.rmtree, folder, ignore_errors=True)


async def keep_clean(keep_s: float) -> None:
    """Call `delete_unused` regularly until cancelled."""
    while True:
        await asyncio.to_thread(delete_unused, keep_s)
        await asyncio.sleep(SWEEP_S)


def delete_unused(keep_s: float) -> None:
    """Delete files that were not used for ``keep_s`` seconds.

    Gradio only deletes the files that its process created; those of a killed process remain.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if _is_ours(folder):
            for path in folder.rglob("*"):
                _delete_if_older(path, time.time() - keep_s)


def _is_ours(folder: Path) -> bool:
    """Whether we created it: anyone may put a link of that name there."""
    try:
        return not folder.is_symlink() and folder.is_dir() and folder.lstat().st_uid == os.getuid()
    except OSError:
        return False


def _delete_if_older(path: Path, time_s: float) -> None:
    try:
        if not path.is_dir() and path.lstat().st_ctime < time_s:
            path.unlink()
    except FileNotFoundError:
        pass  # another process was faster

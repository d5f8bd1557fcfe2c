"""The licences, shown before anything is downloaded, and the consent to them."""

import sys
from collections.abc import Iterable

from rich.console import Console

from .errors import LicenceRefused
from .published import Published


def show_licences(sources: Iterable[Published], console: Console) -> None:
    """Print each licence once: what it covers, what it allows, where its text stands."""
    covered: dict[tuple[str, str, str], list[str]] = {}
    for source in sources:
        key = (source.licence.name, source.licence.allows, source.licence.url)
        covered.setdefault(key, []).append(source.repo)
    for (name, allows, url), repos in covered.items():
        console.print(f"[bold]{name}[/]: {', '.join(repos)}", highlight=False, soft_wrap=True)
        console.print(f"  {allows}\n  {url}", highlight=False, soft_wrap=True)


def ask_consent(accepted: bool, console: Console) -> None:
    """Return if the licences are accepted, on the command line or now; raises `LicenceRefused`."""
    if accepted:
        return
    if not sys.stdin.isatty():
        raise LicenceRefused("nobody is here to accept the licences above; say --accept-licences if you do")
    if console.input("Do you accept these licences? [y/N] ").strip().lower() not in ("y", "yes"):
        raise LicenceRefused("the licences were not accepted; nothing was downloaded")

"""What a row tells the command that runs it while it is at work."""

import sys

PREFIX = "doing: "


def tell(what: str) -> None:
    """Say ``what`` is being done, in a few words."""
    sys.stdout.write(f"{PREFIX}{what}\n")
    sys.stdout.flush()

"""What ends a row."""


class NotHere(Exception):
    """A part that a row needs is not on this machine; the text names it."""

"""The pieces of HTML that change while a picture is generated. Text from outside is escaped here."""

import base64
from decimal import Decimal
from html import escape

from insta_depth import Progress

EMPTY = '<div class="stage empty"><p>Your picture will appear here.</p></div>'


def credits_text(amount: Decimal) -> str:
    """Return an amount without trailing zeros: ``1.5 credits``."""
    unit = "credit" if amount == 1 else "credits"
    return f"{amount.normalize():,f} {unit}"


def price_line(price: Decimal) -> str:
    """Return the price of the next picture."""
    return f'<p class="price">This picture costs <strong>{credits_text(price)}</strong>.</p>'


def waiting(elapsed_s: float) -> str:
    """Return the state before the first step."""
    return _status(f"Waiting for a turn … {elapsed_s:.0f} s") + _bar(0, 1)


def running(progress: Progress, elapsed_s: float) -> str:
    """Return the state after a step, or while others are served first: the step's number, and a bar."""
    count = progress.num_inference_steps
    waiting = f" · {progress.ahead} ahead of you" if progress.ahead else ""
    return _status(f"Step {progress.step} of {count}{waiting} · {elapsed_s:.0f} s") + _bar(progress.step, count)


def finished(elapsed_s: float) -> str:
    """Return the state after the picture."""
    return _status(f"Done in {elapsed_s:.1f} s.", "done")


def cancelled() -> str:
    """Return the state after the visitor cancelled."""
    return _status("Cancelled. A picture that was not finished costs nothing.")


def failed(message: str) -> str:
    """Return an error for people to read."""
    text = message[:1].upper() + message[1:]
    return f'<p class="status failed" role="alert">{escape(text)}</p>'


def preview(jpeg: bytes) -> str:
    """Return the preview, embedded in the page so that no file is kept."""
    source = base64.b64encode(jpeg).decode()
    return f'<div class="stage"><img alt="preview" src="data:image/jpeg;base64,{source}"></div>'


def facts(rows: dict[str, str], note: str = "") -> str:
    """Return the details of a finished picture, as a list of terms."""
    terms = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in rows.items())
    return f'<dl class="facts">{terms}</dl>' + (f'<p class="note">{escape(note)}</p>' if note else "")


def _status(text: str, kind: str = "") -> str:
    return f'<p class="status {kind}" role="status">{escape(text)}</p>'


def _bar(step: int, count: int) -> str:
    return f'<progress value="{step}" max="{count}" aria-label="progress"></progress>'

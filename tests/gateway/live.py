"""A gateway process of its own, and accounts in its database."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType

import requests
from insta_depth_gateway.accounts import AccountSummary, Ledger, connect, migrate

START_S = 60


@dataclass
class LiveGateway:
    """``python -m insta_depth gateway`` from entering the ``with`` block to leaving it.

    ``settings``: further settings, by the name of their variable without its prefix.
    """

    triton_url: str
    database_url: str
    log_path: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "LiveGateway":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start the process and wait until it answers."""
        given = {"TRITON_URL": self.triton_url, "DATABASE_URL": self.database_url, "PORT": str(self.port), "PAGE": "0"}
        environment = _behind_a_proxy() | {
            f"INSTA_DEPTH_GATEWAY_{name}": text for name, text in (given | self.settings).items()
        }
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "insta_depth", "gateway"], env=environment, stderr=log
            )
        deadline_s = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, self.log_path.read_text()
            assert time.monotonic() < deadline_s, self.log_path.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self, timeout_s: float = 60) -> int:
        """Ask it to stop and return its exit status."""
        return self._end(signal.SIGTERM, timeout_s)

    def log(self) -> str:
        return self.log_path.read_text()

    def _answers(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        return False

    def _end(self, how: signal.Signals, timeout_s: float = 60) -> int:
        if self.process is None:
            return 0
        process, self.process = self.process, None
        process.send_signal(how)
        return process.wait(timeout_s)


def _behind_a_proxy() -> dict[str, str]:
    """The environment of a company's machine, with a proxy that lets nothing through."""
    nowhere = {
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
        "ALL_PROXY": "socks5://127.0.0.1:9",
    }
    return {name: text for name, text in os.environ.items() if name.lower() != "no_proxy"} | nowhere


def free_port() -> int:
    """Return a port that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.contextmanager
def accounts(database_url: str) -> Iterator[Ledger]:
    """The ledger in a database, for making keys and reading balances."""
    engine = connect(database_url)
    migrate(engine)
    ledger = Ledger(engine)
    try:
        yield ledger
    finally:
        ledger.close()


def make_key(database_url: str, name: str, credits: int | str = 1000, rate_limit: int | None = None) -> str:
    """Make a key and return its secret."""
    with accounts(database_url) as ledger:
        return ledger.create_key(name, Decimal(credits), rate_limit)[1]


def account_of(database_url: str, name: str) -> AccountSummary:
    """Return the account of one key."""
    with accounts(database_url) as ledger:
        return next(summary for summary in ledger.summaries() if summary.name == name)

"""Triton, a gateway and its accounts, which can be killed and started again at the same addresses."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import psutil
import requests
from insta_depth_gateway.accounts import Ledger, connect, migrate

from deploy.local import ON_FREE_PORTS, LocalTriton

from ..python_server import free_port
from .databases import Database

LEASE_S = 10
_CREDITS = Decimal(1_000_000)
_KEY_NAME = "soak"
_START_S = 120.0
_PREFIX = "INSTA_DEPTH_GATEWAY_"


class System:
    """Everything that serves, from entering the ``with`` block to leaving it."""

    def __init__(self, repository: Path, folder: Path, database: Database) -> None:
        self.triton = LocalTriton(repository, ON_FREE_PORTS)
        self.database = database
        self._port = free_port()
        self._gateway_log = folder / "gateway.log"
        self._gateway: subprocess.Popen[bytes] | None = None
        with self.ledger() as ledger:
            _, self.secret = ledger.create_key(_KEY_NAME, _CREDITS)

    @property
    def url(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> "System":
        self.triton.start()
        try:
            self.start_gateway()
        except BaseException:
            self.triton.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.end_gateway(signal.SIGTERM)
        self.triton.stop()

    def start_gateway(self) -> None:
        """Start it and wait until it is ready."""
        own = {
            "PORT": str(self._port),
            "TRITON_URL": self.triton.grpc_url,
            "DATABASE_URL": self.database.url,
            "LEASE_S": str(LEASE_S),
            "PAGE": "0",
        }
        environment = os.environ | {_PREFIX + name: value for name, value in own.items()}
        with self._gateway_log.open("ab") as log:
            self._gateway = subprocess.Popen(
                [sys.executable, "-m", "insta_depth", "gateway"], env=environment, stdout=log, stderr=log
            )
        give_up = time.monotonic() + _START_S
        while not self._is_gateway_up():
            if self._gateway.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the gateway did not start; its log is {self._gateway_log}")
            time.sleep(0.1)

    def end_gateway(self, how: signal.Signals) -> None:
        """End it; does nothing where it has ended."""
        if self._gateway is not None:
            self._gateway.send_signal(how)
            self._gateway.wait()
            self._gateway = None

    def gateway(self) -> psutil.Process:
        """Return its process."""
        if self._gateway is None:
            raise RuntimeError("the gateway does not run")
        return psutil.Process(self._gateway.pid)

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The accounts, beside the gateway's own connection."""
        engine = connect(self.database.url)
        migrate(engine)
        ledger = Ledger(engine)
        try:
            yield ledger
        finally:
            ledger.close()

    def account(self) -> Any:
        """Return the figures of the callers' key."""
        with self.ledger() as ledger:
            return next(summary for summary in ledger.summaries() if summary.name == _KEY_NAME)

    def copy_logs(self, folder: Path) -> None:
        """Copy the gateway's log, and that of Triton since its last start, into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._gateway_log, folder / "gateway.log")
        shutil.copy(self.triton.log_path, folder / "triton.log")

    def memory_mib(self) -> dict[str, float]:
        """Return the resident memory of the gateway and of Triton with its models; shared pages count in each."""
        server = psutil.Process(self.triton.pid)
        return {"gateway": _mib([self.gateway()]), "triton": _mib([server, *server.children(recursive=True)])}

    def _is_gateway_up(self) -> bool:
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/readyz", timeout=5).ok
        return False


def _mib(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss / 2**20
    return total

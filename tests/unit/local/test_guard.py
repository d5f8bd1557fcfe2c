"""Whatever happens to the process that started the server, nothing stays behind."""

import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import guard
from tests.watching import wait_until

CLOSED_PORT = 1
OBEDIENT = "import time; time.sleep(60)"
STUBBORN = (
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "stub = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print(stub.pid, file=sys.stderr, flush=True)\n"
    "time.sleep(60)"
)
SERVER_WITH_STUB = (
    "import socket, subprocess, sys, time\n"
    "stub = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', '/stream/1/model.py'])\n"
    "listener = socket.create_server(('127.0.0.1', {port}))\n"
    "{then}"
)


@pytest.fixture
def region() -> Iterator[Path]:
    path = Path("/dev/shm") / f"insta_depth_test_{uuid.uuid4().hex}"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


def start(server: str, prefix: str, stop_timeout_s: float = 5, port: int = CLOSED_PORT) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", guard.__file__, "--shared-memory-prefix", prefix]
    command += ["--stop-timeout-s", str(stop_timeout_s), "--address", "127.0.0.1", str(port)]
    command += ["--", sys.executable, "-c", server]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def server_pid(running: subprocess.Popen[str]) -> int:
    assert running.stdout
    return int(running.stdout.readline())


def test_closing_its_input_ends_the_server_and_removes_its_shared_memory(region: Path) -> None:
    running = start(OBEDIENT, region.name)
    pid = server_pid(running)
    assert psutil.pid_exists(pid)
    running.communicate(timeout=10)
    assert not psutil.pid_exists(pid)
    assert not region.exists()


def test_a_termination_signal_does_the_same(region: Path) -> None:
    running = start(OBEDIENT, region.name)
    pid = server_pid(running)
    running.terminate()
    running.wait(timeout=10)
    assert not psutil.pid_exists(pid)
    assert not region.exists()
    running.communicate()


def test_a_server_that_does_not_obey_is_killed_with_its_children(region: Path) -> None:
    running = start(STUBBORN, region.name, stop_timeout_s=0.3)
    pid = server_pid(running)
    assert running.stderr
    stub = int(running.stderr.readline())
    running.communicate(timeout=10)
    assert not psutil.pid_exists(pid)
    wait_until(lambda: not psutil.pid_exists(stub) or psutil.Process(stub).status() == psutil.STATUS_ZOMBIE)


def test_a_server_that_ends_by_itself_passes_its_status_on(region: Path) -> None:
    running = start("raise SystemExit(7)", region.name)
    server_pid(running)
    assert running.wait(timeout=10) == 7
    assert not region.exists()
    running.communicate()


def test_the_server_does_not_outlive_a_killed_guard(region: Path) -> None:
    running = start(OBEDIENT, region.name)
    pid = server_pid(running)
    running.kill()
    running.wait()
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    running.communicate()


def test_regions_of_others_stay(region: Path) -> None:
    running = start("", f"{region.name}_another")
    running.communicate(timeout=10)
    assert region.exists()


def test_a_server_that_loses_a_stub_starts_anew(region: Path) -> None:
    port = free_port()
    running = start(SERVER_WITH_STUB.format(port=port, then="time.sleep(60)"), region.name, port=port)
    first = server_pid(running)
    stub = wait_for_stub(first, port)
    stub.kill()
    second = server_pid(running)
    assert second != first
    assert not psutil.pid_exists(first)
    assert wait_for_stub(second, port) != stub
    running.communicate(timeout=10)
    assert not psutil.pid_exists(second)


def test_processes_that_end_while_the_server_loads_are_no_loss(region: Path) -> None:
    loading = (
        "import subprocess, sys, time\n"
        "subprocess.run([sys.executable, '-c', '', '/stream/1/model.py'], check=True)\n"
        "time.sleep(0.5)"
    )
    running = start(loading, region.name)
    server_pid(running)
    running.wait(timeout=10)
    started_again, said = running.communicate()
    assert (running.returncode, started_again, said) == (0, "", "")


def wait_for_stub(server: int, port: int) -> psutil.Process:
    """The stub of a server that listens, once the guard has had time to notice it."""
    wait_until(lambda: any(c.laddr.port == port for c in psutil.Process(server).net_connections("tcp")))
    time.sleep(3 * guard._POLL_S)
    (stub,) = psutil.Process(server).children()
    return stub


def test_stubs_that_end_after_the_server_stopped_listening_are_no_loss(region: Path) -> None:
    port = free_port()
    stopping = "time.sleep(1); listener.close(); stub.kill(); stub.wait(); time.sleep(0.5)"
    running = start(SERVER_WITH_STUB.format(port=port, then=stopping), region.name, port=port)
    server_pid(running)
    running.wait(timeout=10)
    started_again, said = running.communicate()
    assert (running.returncode, started_again, said) == (0, "", "")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

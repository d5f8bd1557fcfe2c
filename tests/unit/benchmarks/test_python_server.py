"""Servers that rows start: ready when they answer, gone afterwards, and what they cost."""

import subprocess
import sys

import psutil
import pytest

from benchmarks.python_server import free_port, memory_mib, python_server


def test_a_server_answers_in_the_block_and_is_gone_after_it() -> None:
    port = free_port()
    with python_server(["-m", "http.server", str(port), "--bind", "127.0.0.1"], port, "/") as process:
        assert process.is_running()
    assert not psutil.pid_exists(process.pid)


def test_one_that_ends_is_reported_with_its_last_words() -> None:
    with (
        pytest.raises(RuntimeError, match="did not get ready: no such database"),
        python_server(["-c", "print('hello'); raise SystemExit('no such database')"], free_port(), "/"),
    ):
        pass


def test_memory_is_the_processs_and_its_childrens() -> None:
    hold = "import subprocess, sys, time; held = b'1' * (50 << 20); {}; print(flush=True); time.sleep(60)"
    child = f"subprocess.Popen([sys.executable, '-c', {hold.format('pass')!r}]).pid; time.sleep(1.5)"
    with subprocess.Popen([sys.executable, "-c", hold.format(child)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.readline()
        try:
            assert memory_mib(process.pid) == pytest.approx(125, abs=25)
        finally:
            for each in [*psutil.Process(process.pid).children(), process]:
                each.kill()

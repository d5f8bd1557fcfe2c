"""Many threads, gateways and processes on one database."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from threading import Barrier
from typing import TypeVar
from uuid import uuid4

import pytest
from insta_depth_gateway.accounts import Account, Ledger
from insta_depth_gateway.errors import NotEnoughCredits
from sqlalchemy import Engine

from tests.gateway.hammer import LEASE_S

T = TypeVar("T")

OPERATIONS, THREADS = 60, 6


@pytest.fixture
def ledger(engine: Engine) -> Ledger:
    return Ledger(engine)


def later(engine: Engine, seconds: float = 3600) -> Ledger:
    """Another gateway's ledger, whose clock is ahead."""
    return Ledger(engine, clock=lambda: time.time() + seconds)


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Return what the calls return, each made in a thread of its own, all at the same moment."""
    barrier = Barrier(len(calls))

    def started(call: Callable[[], T]) -> T:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(started, calls))


def reserves(ledger: Ledger, account: Account) -> str | None:
    """Reserve a credit and return the reservation, or None where credits do not suffice."""
    reservation = uuid4().hex
    try:
        ledger.reserve(account, Decimal(1), reservation)
    except NotEnoughCredits:
        return None
    return reservation


def books_add_up(ledger: Ledger) -> bool:
    return all(each.deposited == each.balance + each.held + each.spent for each in ledger.summaries())


def test_of_200_that_reserve_at_once_50_get_what_suffices_for_50(ledger: Ledger) -> None:
    account, _ = ledger.create_key("me", Decimal(50))
    reservations = at_once([partial(reserves, ledger, account)] * 200)
    assert sum(each is not None for each in reservations) == 50
    (summary,) = ledger.summaries()
    assert (summary.balance, summary.held) == (0, 50)


def test_of_many_that_close_a_reservation_at_once_one_does(ledger: Ledger) -> None:
    account, _ = ledger.create_key("me", Decimal(5))
    closers = [ledger.spend, ledger.give_back]
    for _ in range(5):
        reservation = str(reserves(ledger, account))
        calls = [partial(closers[number % 2], reservation) for number in range(8)]
        assert sum(at_once(calls)) == 1
        assert books_add_up(ledger)


def test_of_many_that_sweep_at_once_each_reservation_is_returned_by_one(engine: Engine, ledger: Ledger) -> None:
    accounts = [ledger.create_key(name, Decimal(10))[0] for name in "abc"]
    for number in range(30):
        reserves(ledger, accounts[number % 3])
    assert sum(at_once([later(engine).return_expired] * 6)) == 30
    assert [(each.balance, each.held) for each in ledger.summaries()] == [(10, 0)] * 3


def test_what_has_expired_is_had_by_all_that_reserve_at_once(engine: Engine, ledger: Ledger) -> None:
    account, _ = ledger.create_key("me", Decimal(10))
    for hours in range(1, 4):
        gateway = later(engine, hours * 3600)
        assert None not in at_once([partial(reserves, gateway, account)] * 10)
    assert books_add_up(ledger)


def test_renewing_and_sweeping_at_once_do_not_wait_for_each_other(engine: Engine, ledger: Ledger) -> None:
    walk_along_indexes(engine)
    account, _ = ledger.create_key("me", Decimal(600))
    for _ in range(6):
        for number in range(100):
            # The last has the first deadline: along its index the sweep goes the other way than renewing does.
            gateway = later(engine, -3600 - number)
            gateway.owner = ledger.owner
            reserves(gateway, account)
        at_once([ledger.renew, ledger.return_expired] * 2)
        assert books_add_up(ledger)


def walk_along_indexes(engine: Engine) -> None:
    """Have PostgreSQL treat small tables as it treats large ones."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            for plan in ("seqscan", "bitmapscan", "sort"):
                connection.exec_driver_sql(f'ALTER DATABASE "{engine.url.database}" SET enable_{plan} = off')
        engine.dispose()


def test_books_add_up_at_every_moment(engine: Engine, ledger: Ledger) -> None:
    for name in "ab":
        ledger.create_key(name, Decimal(20))
    with ThreadPoolExecutor(THREADS) as threads:
        futures = [threads.submit(use_at_random, engine, seed) for seed in range(THREADS)]
        while not all(future.done() for future in futures):
            assert books_add_up(ledger)
    spent = sum(future.result() for future in futures)
    later(engine, 2 * 3600).return_expired()
    assert books_add_up(ledger)
    assert sum(each.requests for each in ledger.summaries()) == spent
    assert sum(each.held for each in ledger.summaries()) == 0


def use_at_random(engine: Engine, seed: int) -> int:
    """Do this and that with two keys, as a gateway whose clock jumps; return how often something was spent."""
    chance, now_s, held, spent = random.Random(seed), time.time(), [""], 0
    gateway = Ledger(engine, lease_s=30, clock=lambda: now_s + chance.choice([0, 0, 0, 60]))
    accounts = [Account(number, name) for number, name in enumerate("ab", start=1)]
    for _ in range(OPERATIONS):
        match chance.choice(["reserve", "reserve", "spend", "return", "renew", "sweep", "add"]):
            case "reserve":
                held.append(reserves(gateway, chance.choice(accounts)) or "")
            case "spend":
                spent += gateway.spend(chance.choice(held))
            case "return":
                gateway.give_back(chance.choice(held))
            case "renew":
                gateway.renew()
            case "sweep":
                gateway.return_expired()
            case "add":
                gateway.add_credits(chance.choice("ab"), Decimal("0.001"))
    return spent


def test_books_add_up_after_processes_were_killed(
    engine: Engine, ledger: Ledger, database_url: str, tmp_path: Path
) -> None:
    _, secret = ledger.create_key("me", Decimal(10**6))
    reports = [tmp_path / f"{number}.txt" for number in range(4)]
    processes = {report: hammer(database_url, secret, report) for report in reports}
    reported = sum(killed_at_random(process, report) for report, process in processes.items())
    assert books_add_up(ledger)
    (before,) = ledger.summaries()
    returned = later(engine, LEASE_S + 2).return_expired()
    (after,) = ledger.summaries()
    assert (after.held, after.balance) == (0, before.balance + before.held)
    assert after.deposited == after.balance + after.spent
    assert returned <= len(processes), "each had one request at most in hand"
    assert reported <= after.requests <= reported + len(processes), "nothing that was reported as spent is lost"


def hammer(database_url: str, secret: str, report: Path) -> "subprocess.Popen[str]":
    with report.open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.gateway.hammer", database_url, secret],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
        )


def killed_at_random(process: "subprocess.Popen[str]", report: Path) -> int:
    """Kill the process some time after it has begun; return how many requests it said it had spent."""
    while process.poll() is None and not report.read_text():
        time.sleep(0.02)
    time.sleep(random.uniform(0, 0.4))
    process.kill()
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (-signal.SIGKILL, "")
    return report.read_text().count("\n")

"""Run it: start the system, call it all the time, do one fault after the other, write down what each cost."""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from .. import records, report
from ..conditions import conditions
from ..records import Measured, Record, Target, record_of
from . import databases, shared_memory
from .callers import GONE, PICTURE, REFUSED, Callers
from .faults import Fault, NotHere, faults
from .system import LEASE_S, System

BENCHMARK = "soak"
_CALLERS = 6
_PATIENCE_S = 120.0
_MEMORY_EVERY_S = 60.0
_UNAVAILABLE = 503


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if every picture came back in time, every answer was a right one, and every credit is accounted for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--repository", type=Path, default=Path("build/miniature"))
    parser.add_argument("--pictures", type=Path, default=Path("miniature/weights/pictures"))
    parser.add_argument("--database", choices=databases.NAMES, default="sqlite", help="of the accounts (%(default)s)")
    parser.add_argument("--minutes", type=float, default=30, help="(%(default)s); at least what the faults take")
    parser.add_argument("--faults", nargs="*", help="only those whose name contains one of these words")
    parser.add_argument("--output", type=Path, default=Path("build/soak"), help="for records, report and logs")
    parsed = parser.parse_args(arguments)
    console = Console()
    with (
        tempfile.TemporaryDirectory() as folder,
        databases.open_database(parsed.database, Path(folder)) as database,
        System(parsed.repository, Path(folder), database) as system,
    ):
        try:
            found = list(soak(system, parsed, console))
        finally:
            system.copy_logs(parsed.output)
    for record in found:
        records.append(parsed.output / "records.jsonl", record)
    (parsed.output / "report.md").write_text(report.markdown(found), encoding="utf-8")
    console.print(f"Report and records are in {parsed.output}", highlight=False)
    return int(any(record.is_met is False or (record.error and not _is_absent(record)) for record in found))


def _is_absent(record: Record) -> bool:
    return record.error.startswith("not here")


def soak(system: System, parsed: argparse.Namespace, console: Console) -> Iterator[Record]:
    """Yield a record of each fault, of memory and of the sums at the end."""
    chosen = [
        fault for fault in faults(system) if not parsed.faults or any(word in fault.name for word in parsed.faults)
    ]
    callers = Callers(system.url, system.secret, parsed.pictures, _CALLERS)
    pause_s = 60 * parsed.minutes / (len(chosen) + 1)
    with callers.calling(), _memory_by_minute(system) as memory:
        for fault in chosen:
            time.sleep(pause_s)
            record = _suffer(fault, system, callers)
            console.print(f"{record.row}: {record.error or record.measured}", highlight=False)
            yield record
        time.sleep(pause_s)
    yield _memory_record(memory)
    yield _end_record(system, callers)


def _suffer(fault: Fault, system: System, callers: Callers) -> Record:
    def measure() -> tuple[Measured, str]:
        began_s = time.monotonic()
        try:
            fault.do(system)
        except NotHere as missing:
            return {}, f"not here: {missing}"
        done_s = time.monotonic()
        while (waited_s := callers.next_picture_s(done_s)) is None and time.monotonic() < done_s + _PATIENCE_S:
            time.sleep(0.1)
        statuses = callers.statuses("picture", since_s=began_s)
        return {
            "next_picture_s": _PATIENCE_S if waited_s is None else waited_s,
            "unavailable": statuses[_UNAVAILABLE],
            "connections_broken": statuses[GONE],
            "other_failures": _others(statuses),
        }, ""

    return record_of(BENCHMARK, fault.name, measure, conditions(), Target("next_picture_s", at_most=fault.recovery_s))


def _other(statuses: Counter[int]) -> Counter[int]:
    """Return what a good request must not get, whatever goes wrong: neither a picture nor word that nothing serves."""
    return Counter({status: n for status, n in statuses.items() if status not in (PICTURE, _UNAVAILABLE, GONE)})


def _others(statuses: Counter[int]) -> str:
    return ", ".join(f"{count} × {status}" for status, count in sorted(_other(statuses).items()))


@contextmanager
def _memory_by_minute(system: System) -> Iterator[list[dict[str, float]]]:
    """Note the memory every minute, where everything runs."""
    seen: list[dict[str, float]] = []
    over = threading.Event()

    def note() -> None:
        while not over.wait(_MEMORY_EVERY_S):
            try:
                seen.append(system.memory_mib())
            except Exception:  # a process is being replaced
                continue

    thread = threading.Thread(target=note)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _memory_record(seen: Sequence[dict[str, float]]) -> Record:
    measured: Measured = {
        f"{name}_mib": ", ".join(f"{each[name]:.0f}" for each in seen) for name in ("gateway", "triton") if seen
    }
    return record_of(BENCHMARK, "memory by minute", lambda: (measured, "" if seen else "not here: under a minute"), {})


def _end_record(system: System, callers: Callers) -> Record:
    """Wait until nothing is held, then add up: every answer a right one, every credit accounted for."""

    def measure() -> tuple[Measured, str]:
        give_up = time.monotonic() + 6 * LEASE_S
        while system.account().held and time.monotonic() < give_up:
            time.sleep(0.5)
        account = system.account()
        missing = account.deposited - account.balance - account.held - account.spent
        pictures, mistakes = callers.statuses("picture"), callers.statuses("mistake")
        return {
            "credits_missing": float(abs(missing)),
            "credits_held": float(account.held),
            "pictures": pictures[PICTURE],
            "mistakes_refused": mistakes[REFUSED],
            "mistakes_accepted": mistakes[PICTURE],
            "hang_ups": sum(callers.statuses("hang-up").values()),
            "closed_streams": sum(callers.statuses("closed stream").values()),
            "other_failures": _others(pictures),
            "wrong": float(abs(missing) + account.held) + mistakes[PICTURE] + sum(_other(pictures).values()),
        }, ""

    return record_of(BENCHMARK, "at the end", measure, conditions(), Target("wrong", at_most=0))


if __name__ == "__main__":
    shared_memory.enter_own([sys.executable, "-m", "benchmarks.soak", *sys.argv[1:]])
    sys.exit(main())

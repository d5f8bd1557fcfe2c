"""``python -m benchmarks all``, or one of its parts: measure, keep every record, write one report."""

import argparse
import os
import sys
from pathlib import Path

from insta_depth import InstaDepthError
from rich.console import Console

from deploy.local.errors import LocalTritonError

from . import harness, publish, records, report, rows, wide_checkpoint
from .conditions import conditions
from .options import Options
from .quality import command as quality
from .records import Record

_BENCHMARKS = list(dict.fromkeys(row.benchmark for row in rows.ROWS))
_ON_WIDE = ("overhead", "load", "side-by-side", "size")
_RECORDS = "records.jsonl"


def main() -> int:
    """Measure; the exit status is 1 where a row failed or missed its target."""
    parsed = _parse()
    if parsed.command == "quality":
        return _quality(parsed)
    if parsed.command == "publish":
        missing = publish.publish(parsed.records, parsed.docs, parsed.readme)
        sys.stdout.write("".join(f"not measured: {row}\n" for row in missing))
        return 0
    options = Options(parsed.repository, parsed.pictures, parsed.wide_repository, parsed.repeats, parsed.checkpoint)
    if parsed.command == "row":
        harness.measure_here(rows.named(parsed.benchmark, parsed.name), options)
        return 0
    return _run(parsed, options)


def _quality(parsed: argparse.Namespace) -> int:
    try:
        return quality.run(parsed)
    except (InstaDepthError, LocalTritonError) as error:
        sys.stderr.write(f"python -m benchmarks quality: error: {error}\n")
        return 2


def _parse() -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument(
        "--repository", type=Path, default=Path("build/miniature"), help="the miniature's (%(default)s)"
    )
    shared.add_argument(
        "--wide-repository", type=Path, default=Path("build/wide"), help="one with longer steps; made if missing"
    )
    shared.add_argument("--checkpoint", type=Path, default=Path("miniature/weights"), help="the miniature's")
    shared.add_argument("--pictures", type=Path, help="with face.png and pose.png (CHECKPOINT/pictures)")
    shared.add_argument("--repeats", type=int, default=7, help="pairs of runs in a comparison (%(default)s)")
    shared.add_argument("--only", default="", metavar="TEXT", help="rows with this in their names")
    shared.add_argument("--output", type=Path, default=Path("build/benchmarks"), help="for records and report")
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in (*_BENCHMARKS, "all"):
        commands.add_parser(name, parents=[shared], help=f"every row of {name}" if name != "all" else "everything")
    one = commands.add_parser("row", parents=[shared], help="one row in this process (used for each by the others)")
    one.add_argument("benchmark", choices=_BENCHMARKS)
    one.add_argument("name")
    quality.add_arguments(commands.add_parser("quality", help="how right the miniature's pictures are"))
    published = commands.add_parser(
        "publish", help="write the last records, their report and figures into the documents"
    )
    published.add_argument("--records", type=Path, default=Path("build/benchmarks") / _RECORDS, help="(%(default)s)")
    published.add_argument("--docs", type=Path, default=Path("docs"), help="(%(default)s)")
    published.add_argument("--readme", type=Path, default=Path("README.md"), help="(%(default)s)")
    parsed = parser.parse_args()
    if parsed.command not in ("quality", "publish"):
        parsed.pictures = parsed.pictures or parsed.checkpoint / "pictures"
    return parsed


def _run(parsed: argparse.Namespace, options: Options) -> int:
    console = Console()
    chosen = [row for row in rows.ROWS if parsed.command in (row.benchmark, "all") and parsed.only in row.name]
    if not chosen:
        console.print(f"no row of {parsed.command} has {parsed.only!r} in its name", highlight=False)
        return 2
    if any(row.benchmark in _ON_WIDE for row in chosen):
        with console.status("making the wide checkpoint"):
            wide_checkpoint.prepare(parsed.checkpoint, options.wide_checkpoint, options.wide_repository)
    found: list[Record] = []
    for number, row in enumerate(chosen, start=1):
        found.append(_measure(row, options, f"{number} of {len(chosen)} · {row.benchmark}: {row.name}", console))
        records.append(parsed.output / _RECORDS, found[-1])
    for table in report.tables(found):
        console.print(table)
    report.write(parsed.output, found)
    console.print(f"Report, plots and records are in {os.path.relpath(parsed.output)}", highlight=False)
    return 1 if any(record.error or record.is_met is False for record in found) else 0


def _measure(row: rows.Row, options: Options, title: str, console: Console) -> Record:
    with console.status(title) as status:
        record = harness.run(row, _arguments(options), conditions(), lambda doing: status.update(f"{title} · {doing}"))
    console.print(f"{title}: {record.error or f'{record.took_s:g} s'}", highlight=False, markup=False)
    return record


def _arguments(options: Options) -> list[str]:
    paths = {
        "--repository": options.repository,
        "--pictures": options.pictures,
        "--wide-repository": options.wide_repository,
        "--checkpoint": options.checkpoint,
    }
    return [part for flag, path in paths.items() for part in (flag, str(path))] + ["--repeats", str(options.repeats)]


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal may know ASCII only
    sys.exit(main())

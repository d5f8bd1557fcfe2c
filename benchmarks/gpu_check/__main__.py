"""``python -m benchmarks.gpu_check``: measure every variant, keep every record, print one table."""

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    import torch
    from rich.console import Console

    from .. import records
    from ..conditions import conditions
    from ..records import Measured, Record
    from . import artefacts, options, runner, table, variants
    from .options import NotHere, Options
    from .variants import LIMIT, VARIANTS
except ModuleNotFoundError as missing:
    raise SystemExit(f"gpu-check needs the package {missing.name}, which {sys.executable} has not.") from None

_RECORDS, _REPORT = "records.jsonl", "report.md"
_LONGEST_ERROR = 240
_PIPE_COLUMNS = 132


def main() -> int:
    """Measure; the exit status is 1 where there is no GPU to measure, or a row failed."""
    parsed = _parse()
    chosen = options.options_from(parsed)
    if parsed.export:
        artefacts.export(chosen, parsed.export)
        return 0
    if parsed.row:
        return _do_here(variants.measure, parsed.row, chosen, parsed.result)
    if parsed.prepare:
        return _do_here(variants.prepare, parsed.prepare, chosen, parsed.result)
    if chosen.is_on_gpu and not torch.cuda.is_available():
        sys.stderr.write(
            f"gpu-check needs a CUDA GPU, and torch {torch.__version__} sees none here; "
            "--device cpu --size tiny tries the command itself out.\n"
        )
        return 1
    return _run(chosen, parsed.variants)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_check", description=__doc__)
    options.add_arguments(parser)
    parser.add_argument("--variants", type=_names, default=list(VARIANTS), help=f"of {','.join(VARIANTS)} (all)")
    for hidden, kind in (("--prepare", str), ("--row", str), ("--result", Path), ("--export", str)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    return parser.parse_args()


def _names(text: str) -> list[str]:
    unknown = set(text.split(",")) - set(VARIANTS)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{', '.join(sorted(unknown))}: unknown; the variants are {', '.join(VARIANTS)}"
        )
    return [name for name in VARIANTS if name in text.split(",")]


def _do_here(task: Callable[[str, Options], Measured], name: str, chosen: Options, result: Path) -> int:
    """Be a row's process: leave what ``task`` found, what is missing or what went wrong in ``result``."""
    try:
        told: dict[str, Any] = {"measured": task(name, chosen)}
    except NotHere as absent:
        told = {"error": f"{runner.ABSENT}{absent}"}
    except Exception as error:  # a row that failed is kept
        traceback.print_exc()
        told = {"error": _one_line(error)}
    result.write_text(json.dumps(told), encoding="utf-8")
    return 0


def _one_line(error: Exception) -> str:
    """The beginning of an error's text: those of CUDA and of servers go on for pages."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:_LONGEST_ERROR]}"


def _run(chosen: Options, names: list[str]) -> int:
    console, path = Console(width=None if sys.stdout.isatty() else _PIPE_COLUMNS), chosen.folder / _RECORDS
    about = {**conditions(), "step": _step(chosen)}
    known, made = runner.earlier(path, about), list[Record]()
    for name in (LIMIT, *names):
        with console.status(f"{name}: measuring"):
            made.append(runner.run(name, chosen, about, known))
        known[name] = made[-1].measured
        records.append(path, made[-1])
        _tell(made[-1], console)
    title = f"One step: {', '.join(f'{key} {value}' for key, value in about['step'].items())}"
    console.print(table.terminal(made, title))
    for line in table.why_missing(made):
        console.print(line, highlight=False, markup=False)
    (chosen.folder / _REPORT).write_text(table.markdown(made, title), encoding="utf-8")
    console.print(f"Records and the table in Markdown are in {chosen.folder}", highlight=False)
    return int(any(record.error and not record.error.startswith(runner.ABSENT) for record in made))


def _tell(record: Record, console: Console) -> None:
    found = f"{record.measured['step_ms']:.1f} ms" if "step_ms" in record.measured else record.error or "done"
    console.print(f"{record.row}: {found} (took {record.took_s:g} s)", highlight=False, markup=False)


def _step(chosen: Options) -> dict[str, str | int]:
    """What makes two records comparable."""
    size, device = chosen.networks.step, chosen.torch_device
    return {
        "device": torch.cuda.get_device_name(device) if chosen.is_on_gpu else "cpu",
        "networks": chosen.size,
        "depth net": chosen.depth_net,
        "rows": size["rows"],
        "pixels": f"{64 * size['height']}x{64 * size['width']}",
        "precision": chosen.float_type.value,
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    sys.exit(main())

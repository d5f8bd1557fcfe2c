"""``python -m deploy.local serve REPOSITORY``: Triton on this machine until Ctrl-C."""

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from .errors import LocalTritonError
from .server import LocalTriton, Options

_console = Console(stderr=True)


def main() -> int:
    """Serve until a signal; the exit status is 0 after a clean stop, 1 if the server could not run."""
    options = _parse()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _serve(options.pop("repository"), Options(**options))
    except LocalTritonError as error:
        _console.print(f"[bold red]{type(error).__name__}[/]")
        _console.print(str(error), highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        _console.print("Stopped.")
        return 0


def _parse() -> dict:
    defaults = Options()
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    serve = parser.add_subparsers(required=True).add_parser("serve", help="serve a built model repository")
    serve.add_argument("repository", type=Path, help="as written by `python -m export onnx`")
    serve.add_argument("--host", default=defaults.host, help="address to listen on (%(default)s)")
    for purpose in ("http", "grpc", "metrics"):
        default = getattr(defaults, f"{purpose}_port")
        serve.add_argument(f"--{purpose}-port", type=int, default=default, help="0: any free one (%(default)s)")
    serve.add_argument("--log-path", type=Path, help="file for everything that the server and the models print")
    return vars(parser.parse_args())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _serve(repository: Path, options: Options) -> int:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=_console, transient=True) as bar:
        task = bar.add_task("Loading models", total=None)
        server = LocalTriton(
            repository, options, on_progress=lambda ready, total: bar.update(task, completed=ready, total=total)
        )
        server.start()
    try:
        _console.print(_summary(server))
        return server.wait()
    finally:
        server.stop()


def _summary(server: LocalTriton) -> Table:
    table = Table(title=f"Triton serves {server.repository.name}", show_header=False, title_justify="left")
    rows = {
        "HTTP": server.http_url,
        "gRPC": server.grpc_url,
        "metrics": server.metrics_url,
        "models": ", ".join(server.models),
        "log": str(server.log_path),
        "process": str(server.pid),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    table.caption = "Ctrl-C stops it."
    return table


if __name__ == "__main__":
    sys.exit(main())

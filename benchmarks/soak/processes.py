"""The processes beneath a Triton server."""

import psutil


def model_process(server_pid: int, model: str) -> psutil.Process:
    """Return the process in which a Python model, or an engine without a GPU, runs."""
    children = psutil.Process(server_pid).children(recursive=True)
    return next(child for child in children if f"/{model}/" in " ".join(child.cmdline()))

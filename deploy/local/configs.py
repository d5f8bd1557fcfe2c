"""Whether the repository's configurations leave nothing for Triton to ask the models for."""

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2


def are_complete(repository: Path) -> bool:
    """Whether every ``config.pbtxt`` names a backend, inputs and outputs.

    Triton would start each model's process once more to ask for the rest. A file that cannot be read is not complete:
    Triton says why.
    """
    return all(_is_complete(path) for path in repository.glob("*/config.pbtxt"))


def _is_complete(path: Path) -> bool:
    try:
        config = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError):
        return False
    return bool((config.backend or config.platform) and config.input and config.output)

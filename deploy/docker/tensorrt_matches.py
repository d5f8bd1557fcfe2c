"""``tensorrt_matches.py VERSION``: checks, while the image is built, that its TensorRT has this version.

Only the release that built a plan can read it, so an image must not combine a Triton and a TensorRT that do not match.
If the library is not found, this prints a warning and the build goes on: the server compares every plan with its
TensorRT when it loads.
"""

import ctypes
import sys

_LIBRARIES = ("libnvinfer.so.10", "libnvinfer.so.11")


def installed_version() -> str | None:
    """Return major, minor and patch of the TensorRT library that can be loaded here, or None."""
    for name in _LIBRARIES:
        try:
            number = ctypes.CDLL(name).getInferLibVersion()
        except (OSError, AttributeError):
            continue
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return None


def main(arguments: list[str]) -> int:
    """Return 1 if the image has another TensorRT."""
    (wanted,) = arguments
    installed = installed_version()
    if installed is None:
        _say(f"no TensorRT library could be asked for its version; not checked: {wanted}")
    elif wanted.split(".")[:3] != installed.split("."):
        _say(f"this Triton has TensorRT {installed}, not {wanted}: set TENSORRT_VERSION to that of the release")
        return 1
    return 0


def _say(message: str) -> None:
    print(f"tensorrt_matches: {message}", file=sys.stderr, flush=True)  # noqa: T201 - the build's log


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The Dockerfile, .dockerignore and compose.yaml, read as far as the tests need."""

import fnmatch
import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import yaml

from tests.conftest import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
SHARED_MEMORY_BYTES = int(2.6 * 2**30)
"""1.5 × the tensors of 8 requests at their largest and a step of 16 rows: an estimate (docs/kubernetes.md)."""
TARGETS = ("triton", "gateway", "export", "gpu-check")


@dataclass
class Stage:
    """One FROM, and the instructions below it: (keyword, rest) in order."""

    name: str
    base: str
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def all(self, keyword: str) -> list[str]:
        return [rest for name, rest in self.instructions if name == keyword]


def stages() -> tuple[dict[str, str], dict[str, Stage]]:
    """The ARGs before the first FROM with their defaults, and every stage by name."""
    arguments: dict[str, str] = {}
    found: dict[str, Stage] = {}
    current: Stage | None = None
    for keyword, rest in _instructions():
        if keyword == "FROM":
            base, _, name = rest.partition(" AS ")
            current = found[name] = Stage(name, base)
        elif current is not None:
            current.instructions.append((keyword, rest))
        elif keyword == "ARG":
            name, _, default = rest.partition("=")
            arguments[name] = default
    return arguments, found


def _instructions() -> list[tuple[str, str]]:
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def lineage(name: str) -> list[Stage]:
    """The stage and those that it stands on, itself last."""
    found = stages()[1]
    chain = [found[name]]
    while chain[0].base in found:
        chain.insert(0, found[chain[0].base])
    return chain


def sources() -> set[str]:
    """Every path of the build's context that COPY or a bind mount names."""
    named: set[str] = set()
    for stage in stages()[1].values():
        for rest in stage.all("COPY"):
            words = shlex.split(rest)
            if not any(word.startswith("--from=") for word in words):
                named.update(word for word in words[:-1] if not word.startswith("--"))
        for mount in re.findall(r"--mount=(\S+)", " ".join(stage.all("RUN"))):
            options = dict(option.partition("=")[::2] for option in mount.split(","))
            if options["type"] == "bind" and "from" not in options:
                named.add(options["source"])
    return named


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps ``path`` out: the last pattern that fits it or a folder above it decides."""
    parts = PurePosixPath(path).parts
    above = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    ignored = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if any(_fits(each, pattern.lstrip("!")) for each in above):
            ignored = not pattern.startswith("!")
    return ignored


def _fits(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return fnmatch.fnmatch(PurePosixPath(path).name, pattern[3:])
    return path.count("/") == pattern.count("/") and fnmatch.fnmatch(path, pattern)


def known_files() -> list[str]:
    """Files that git has, or would take."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()


def compose() -> dict:
    """compose.yaml, anchors resolved."""
    return yaml.safe_load((ROOT / "compose.yaml").read_text())

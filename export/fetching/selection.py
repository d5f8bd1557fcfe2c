"""Which of a repository's files export needs: configs, tokenizers, and one set of weights a folder."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from ..checkpoint.weights import WeightFile, best_form, by_folder, weight_file
from .errors import NotPublished
from .published import Published

_PLAIN = (".json", ".txt")


def select(source: Published, paths: Iterable[str], full_weights: bool) -> list[str]:
    """Return what to fetch of ``paths``; raises `NotPublished` where a needed one is missing.

    Of a folder that holds weights more than once, `best_form` chooses. Single-file checkpoints, ONNX, OpenVINO and
    Flax files stay where they are.
    """
    paths = sorted(path for path in paths if any(fnmatchcase(path, pattern) for pattern in source.patterns))
    missing = [path for path in source.needs if path not in paths]
    if missing:
        raise NotPublished(f"{source.repo} has no {', '.join(missing)}: it is not in the layout that export reads")
    unwanted = {path for weights in by_folder(paths).values() for path in _other_forms(weights, full_weights)}
    return [path for path in paths if path in source.patterns or (path not in unwanted and _is_read(path))]


def _is_read(path: str) -> bool:
    return weight_file(path) is not None or path.endswith(_PLAIN)


def _other_forms(weights: Mapping[str, WeightFile], full_weights: bool) -> Iterable[str]:
    best = best_form((named.form for named in weights.values()), full_weights)
    return (path for path, named in weights.items() if named.form != best)

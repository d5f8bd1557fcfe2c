"""Text is UTF-8 wherever it is read or written: the locale's own encoding may be ASCII."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "client", "deploy", "export", "gateway", "insta_depth_shared", "miniature", "model_repository")
NOT_OF_TEXT = ("Image.open", "tarfile.open", "opener.open")
SOURCES = [source for folder in FOLDERS for source in sorted((ROOT / folder).rglob("*.py"))]


def without_encoding(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls that read, write or pipe text in the locale's encoding."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and "encoding" not in {each.arg for each in call.keywords}:
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
            if reads_text(name, call) or any(is_true(call, each) for each in ("text", "universal_newlines")):
                yield call


def reads_text(name: str, call: ast.Call) -> bool:
    if name in ("read_text", "write_text"):
        return True
    if name not in ("open", "fdopen") or ast.unparse(call.func) in NOT_OF_TEXT:
        return False
    is_method = isinstance(call.func, ast.Attribute) and name == "open"
    mode = next((each.value for each in call.keywords if each.arg == "mode"), None)
    mode = mode or next(iter(call.args[0 if is_method else 1 :]), None)
    return mode is None or (isinstance(mode, ast.Constant) and isinstance(mode.value, str) and "b" not in mode.value)


def is_true(call: ast.Call, name: str) -> bool:
    return any(k.arg == name and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_and_pipe_has_its_encoding(source: Path) -> None:
    tree = ast.parse(source.read_text(encoding="utf-8"))
    assert [f"line {call.lineno}: {ast.unparse(call)}" for call in without_encoding(tree)] == []


def test_the_rule_sees_what_it_is_to_see() -> None:
    wrong = 'p.read_text()\np.write_text(x)\nopen(p)\np.open()\np.open("w")\nsubprocess.run(c, text=True)'
    right = 'p.read_bytes()\np.read_text(encoding="utf-8")\nopen(p, "rb")\np.open("ab")\nImage.open(p)'
    assert len(list(without_encoding(ast.parse(wrong)))) == 6
    assert not list(without_encoding(ast.parse(right)))

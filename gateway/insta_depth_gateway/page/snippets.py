"""The form's request, as a caller of the API would write it. It never contains a key."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from insta_depth_gateway.page.form import PICTURES, settings

KEY_VARIABLE = "INSTA_DEPTH_KEY"
_PATH = "/v1/insta-depth"


def curl_command(origin: str, form: Mapping[str, Any]) -> str:
    """Return a shell command that posts the form's values to the gateway at ``origin``."""
    fields = [f"--form {shlex.quote(f'{name}=@{_curl_file(file)}')}" for name, file in _file_names(form).items()]
    fields += [f"--form-string {shlex.quote(f'{name}={_text(value)}')}" for name, value in settings(form).items()]
    lines = [
        f"curl --fail-with-body {shlex.quote(origin + _PATH)}",
        f'--header "x-api-key: ${KEY_VARIABLE}"',
        *fields,
        "--form-string base64=false",
        "--output picture.jpg",
    ]
    return " \\\n  ".join(lines)


def python_program(origin: str, form: Mapping[str, Any]) -> str:
    """Return a Python program, with `requests`, that posts the form's values to the gateway at ``origin``."""
    pictures = [f"    {name!r}: file_to_base64({file!r})," for name, file in _file_names(form).items()]
    others = [f"    {name!r}: {value!r}," for name, value in settings(form).items()]
    return _PROGRAM.format(url=origin + _PATH, fields="\n".join([*pictures, *others]), key=KEY_VARIABLE)


_PROGRAM = """\
import base64
import os
from pathlib import Path

import requests


def file_to_base64(path):
    return base64.b64encode(Path(path).read_bytes()).decode()


data = {{
{fields}
    'base64': False,
}}
headers = {{'x-api-key': os.environ[{key!r}]}}
response = requests.post({url!r}, json=data, headers=headers)
if not response.ok:
    raise SystemExit(response.text)
Path('picture.jpg').write_bytes(response.content)
print('seed', response.headers.get('x-seed'), 'credits left', response.headers.get('x-remaining-credits'))
"""


def _file_names(form: Mapping[str, Any]) -> dict[str, str]:
    return {name: Path(form[name]).name if form[name] else f"{name}.jpg" for name in PICTURES}


def _curl_file(name: str) -> str:
    """Return a file name as curl reads it after ``@``, where a comma or semicolon would end it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"' if any(each in name for each in ',;"\\ ') else name


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)

"""``python -m insta_depth_gateway.openapi`` prints the OpenAPI document, which ``docs/openapi.json`` keeps."""

import json
import sys
from typing import Any

from insta_depth_gateway.app import create_api


def document() -> dict[str, Any]:
    """Return the document as `GET /openapi.json` answers it."""
    return create_api().openapi()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2, ensure_ascii=False) + "\n")

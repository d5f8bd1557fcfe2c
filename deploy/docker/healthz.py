"""Checks whether this container's gateway answers; for the image's HEALTHCHECK."""

import http.client
import os
import sys

_TIMEOUT_S = 4.0


def main() -> int:
    """Return 0 if ``/healthz`` answers 200."""
    host = os.environ.get("INSTA_DEPTH_GATEWAY_HOST", "127.0.0.1")
    port = int(os.environ.get("INSTA_DEPTH_GATEWAY_PORT", "8080"))
    # http.client, because urllib would use a proxy for 127.0.0.1.
    connection = http.client.HTTPConnection("127.0.0.1" if host == "0.0.0.0" else host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", "/healthz")
        return 0 if connection.getresponse().status == http.HTTPStatus.OK else 1
    except (OSError, http.client.HTTPException):
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())

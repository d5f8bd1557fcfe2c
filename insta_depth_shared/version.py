"""The version that made a picture; the client's is the same, which a test sees to."""

VERSION = "0.1.0"
GENERATOR = f"Insta Depth on Triton {VERSION}"

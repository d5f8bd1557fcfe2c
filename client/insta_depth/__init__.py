"""Insta Depth on Triton, from Python: a person's picture, a pose and a prompt in, a picture out.

```python
from insta_depth import InstaDepth

with InstaDepth("127.0.0.1:8001") as client:
    generation = client.generate(face_image="face.jpg", pose_image="pose.jpg", prompt="Photo of a woman")
generation.save("out.jpg")
```
"""

from insta_depth._async_client import AsyncInstaDepth
from insta_depth._cancel import CancelToken
from insta_depth._client import InstaDepth
from insta_depth._errors import (
    Cancelled,
    DeadlineExceeded,
    EngineFailed,
    FacesDiffer,
    FaceTooSmall,
    InstaDepthError,
    InvalidInput,
    NoFace,
    Overloaded,
    ServerUnavailable,
    TooLarge,
)
from insta_depth._generation import Generation, Progress
from insta_depth._request import GenerationRequest
from insta_depth._transport import AsyncTransport, Capabilities, ServerStatus, Transport
from insta_depth._version import __version__

__all__ = [
    "AsyncInstaDepth",
    "AsyncTransport",
    "CancelToken",
    "Cancelled",
    "Capabilities",
    "DeadlineExceeded",
    "EngineFailed",
    "FaceTooSmall",
    "FacesDiffer",
    "Generation",
    "GenerationRequest",
    "InstaDepth",
    "InstaDepthError",
    "InvalidInput",
    "NoFace",
    "Overloaded",
    "Progress",
    "ServerStatus",
    "ServerUnavailable",
    "TooLarge",
    "Transport",
    "__version__",
]

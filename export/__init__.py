"""From a checkpoint folder to a complete Triton model repository."""

import sys
from pathlib import Path

# The orchestrator's own package is not installed anywhere: it is read from the model's folder.
sys.path.append(str(Path(__file__).parent.parent / "model_repository" / "insta_depth_stream" / "1"))

"""From a checkpoint folder to a complete Triton model repository."""

import sys
from pathlib import Path

# What the Python models share, and their own packages, are not installed anywhere: export copies them, and reads them
# from here.
sys.path.append(str(Path(__file__).parent / "shared"))
sys.path.append(str(Path(__file__).parent.parent / "model_repository" / "insta_depth_stream" / "1"))

"""From a checkpoint folder to a complete Triton model repository."""

import sys
from pathlib import Path

# What the Python models share is not installed anywhere: export copies it into each of them, and reads it from here.
sys.path.append(str(Path(__file__).parent / "shared"))

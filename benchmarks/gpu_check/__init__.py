"""One command for a GPU: one denoising step, measured on every way in which this project can run it.

As in segment-anything-fast's report: one variant a row, each in a fresh process, failed rows kept.
"""

import os

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it tells of packages that no network here needs

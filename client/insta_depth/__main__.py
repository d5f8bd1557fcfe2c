"""`python -m insta_depth` is the `insta-depth` command."""

import sys

from insta_depth._cli import main

sys.exit(main())

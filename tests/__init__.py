"""Tests. Those in this process run the sources, as patches of a module reach nothing that is compiled."""

import os

os.environ.setdefault("PREDMP_NATIVE", "0")

"""The command line: one short file per command that parses, calls and prints."""

import os

# torch reads it with its first tensor: activations in huge pages are some percent of a step.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

"""Freed memory stays in the process."""

import os
import subprocess
import sys

import pytest

from ravine.core.memory import keep_freed_memory

_STEPS = """
import resource
import torch
from ravine.core.memory import keep_freed_memory

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(16, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for keep in (False, True):
    if keep:
        assert keep_freed_memory()
    faults(20)
    print(faults(10))
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="not glibc")
def test_memory_that_is_freed_is_not_asked_for_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _STEPS],
        # Page by page: a huge page is one fault.
        env={**os.environ, "THP_MEM_ALLOC_ENABLE": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    without, kept = map(int, done.stdout.split())
    assert kept < 100
    assert without > 10_000  # 64 MiB, ten times, page by page

"""Available memory, within the limits of control groups; freed memory stays in the process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ravine.core.memory import available_memory, keep_freed_memory

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


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def write_group(group: Path, *, limit: str) -> None:
    """Writes a group of version 2 that has taken 9,000 bytes, 2,000 of which can be freed."""
    write(group / "memory.max", limit)
    write(group / "memory.current", "9000")
    write(group / "memory.stat", "anon 1\ninactive_file 2000")


def test_free_memory_is_the_less_of_the_machines_and_the_containers(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
    write(tmp_path / "proc/meminfo", "MemTotal: 99 kB\nMemAvailable:    50 kB")
    assert available_memory(tmp_path) == 51_200
    write(tmp_path / "proc/self/cgroup", "0::/")
    write_group(tmp_path / "sys/fs/cgroup", limit="max")
    assert available_memory(tmp_path) == 51_200
    write_group(tmp_path / "sys/fs/cgroup", limit="10000")
    assert available_memory(tmp_path) == 3000


def test_the_limit_of_a_job_or_of_a_group_above_it_counts(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/scheduler/job_7/step_0")
    job = tmp_path / "sys/fs/cgroup/scheduler/job_7"
    write_group(job / "step_0", limit="max")
    write_group(job, limit="12000")
    assert available_memory(tmp_path) == 5000
    write_group(job / "step_0", limit="8000")
    assert available_memory(tmp_path) == 1000


def test_the_first_version_of_control_groups_has_its_own_files(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:memory:/docker/f00\n2:cpu,cpuacct:/docker/f00\n0::/")
    group = tmp_path / "sys/fs/cgroup/memory"  # a container sees its own group at the top
    write(group / "memory.limit_in_bytes", "10000")
    write(group / "memory.usage_in_bytes", "9000")
    write(group / "memory.stat", "inactive_file 1\ntotal_inactive_file 2000")
    assert available_memory(tmp_path) == 3000
    write(group / "docker/f00/memory.limit_in_bytes", "9223372036854771712")  # of no limit
    write(group / "docker/f00/memory.usage_in_bytes", "9000")
    write(group / "docker/f00/memory.stat", "total_inactive_file 0")
    assert available_memory(tmp_path) == 3000

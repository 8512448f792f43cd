"""Cores that this process may use: affinity, and the quotas of control groups of both versions."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ravine.core.cores import cores_in_quota, describe_cores, usable_cores


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_without_control_groups_the_affinity_decides(tmp_path: Path) -> None:
    assert cores_in_quota(tmp_path) is None
    assert usable_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_a_quota_of_a_group_above_counts_too(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/batch/job")
    write(tmp_path / "sys/fs/cgroup/batch/job/cpu.max", "max 100000")
    assert cores_in_quota(tmp_path) is None
    write(tmp_path / "sys/fs/cgroup/batch/cpu.max", "50000 100000")

    assert cores_in_quota(tmp_path) == pytest.approx(0.5)
    assert usable_cores(tmp_path) == 1


def test_the_first_version_has_its_own_files(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "4:memory:/a\n2:cpu,cpuacct:/box\n1:name=systemd:/")
    write(tmp_path / "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1")
    write(tmp_path / "sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000")
    assert cores_in_quota(tmp_path) is None
    write(tmp_path / "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "150000")

    assert cores_in_quota(tmp_path) == pytest.approx(1.5)
    assert usable_cores(tmp_path) == min(2, len(os.sched_getaffinity(0)))


def test_files_that_make_no_sense_are_no_limit(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/../../etc")
    write(tmp_path / "sys/fs/cgroup/cpu.max", "much")

    assert cores_in_quota(tmp_path) is None


def test_more_threads_than_cores_are_one_line() -> None:
    cores = usable_cores()
    line = describe_cores(cores, asked=cores + 7)

    assert f"{cores + 7} were asked for, more than the cores ({cores})" in line
    assert "\n" not in line


def trained(*, cores: set[int], **environment: str) -> str:
    """Returns what a short training prints, in a process that is kept to some cores."""
    images = np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)
    np.savez(Path(environment["FOLDER"]) / "noise.npz", images=images, labels=np.arange(60) % 2)
    command = [sys.executable, "-m", "ravine", "train", "noise.npz", "--epochs", "1"]
    more = ["--model", "wrn-10-1", "--batch", "16", "--validation", "0", "--augment", "none"]
    done = subprocess.run(
        [*command, *more, "--out", "run"],
        env={**os.environ, **environment},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
        text=True,
        check=True,
        cwd=environment["FOLDER"],
    )
    return done.stdout + done.stderr


@pytest.mark.slow
def test_one_core_and_many_threads_train_and_are_one_line(tmp_path: Path) -> None:
    first = min(os.sched_getaffinity(0))
    printed = trained(cores={first}, OMP_NUM_THREADS="9", FOLDER=str(tmp_path))

    lines = [line for line in printed.splitlines() if "1 thread: " in line]
    assert len(lines) == 1
    assert "9 were asked for, more than the cores (1)" in lines[0]

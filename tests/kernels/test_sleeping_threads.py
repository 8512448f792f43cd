import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ravine.kernels import sleeping_threads
from ravine.kernels.library import load_library
from ravine.kernels.sleeping_threads import IdleTeam, are_asleep, sleeps_when_busy

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell"),
    pytest.mark.skipif(load_library() is None, reason="needs the C library"),
]


@pytest.fixture
def two_threads(monkeypatch):
    """As a user has it: the tests' own environment decides how threads wait."""
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(len(os.sched_getaffinity(0)) or 2)
    if torch.get_num_threads() == 1:
        torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def _threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def _becomes(asleep: bool, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while are_asleep() != asleep and time.monotonic() < end:
        time.sleep(0.05)
    return are_asleep() == asleep


def test_threads_sleep_while_loops_take_the_cores(two_threads):
    beside = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in os.sched_getaffinity(0)
    ]
    try:
        with sleeps_when_busy():
            assert _becomes(True, seconds=20)
        assert _becomes(False, seconds=10)
    finally:
        for loop in beside:
            loop.kill()
            loop.wait()


def test_they_spin_again_where_nothing_else_runs(two_threads, monkeypatch):
    others = [1.5]
    monkeypatch.setattr(sleeping_threads.OtherLoad, "cores", lambda self: others[0])
    monkeypatch.setattr(sleeping_threads, "_SAMPLED", 0.02)
    with sleeps_when_busy():
        assert _becomes(True, seconds=10)
        others[0] = 0.0
        assert _becomes(False, seconds=10)


def test_a_team_is_of_the_asked_size_and_ends_with_its_holder():
    team, before = IdleTeam(), _threads()
    team.hold(3)
    try:
        assert _threads() >= before + 3  # the holder and the two that it has started
        team.hold(3)  # there is one already
    finally:
        team.release()
    end = time.monotonic() + 10
    while _threads() > before and time.monotonic() < end:
        time.sleep(0.01)
    assert _threads() <= before


@pytest.mark.slow
def test_the_innermost_use_does_not_end_the_outer_one(two_threads, monkeypatch):
    monkeypatch.setattr(sleeping_threads.OtherLoad, "cores", lambda self: 99.0)
    monkeypatch.setattr(sleeping_threads, "_SAMPLED", 0.02)

    @sleeps_when_busy()
    def inner() -> bool:
        return _becomes(True, seconds=10)

    with sleeps_when_busy():
        assert inner()
        assert inner()
        assert are_asleep()
    assert _becomes(False, seconds=10)


@pytest.mark.slow
def test_a_fork_has_a_watcher_of_its_own(two_threads, monkeypatch):
    monkeypatch.setattr(sleeping_threads.OtherLoad, "cores", lambda self: 99.0)
    monkeypatch.setattr(sleeping_threads, "_SAMPLED", 0.02)
    with sleeps_when_busy():
        assert _becomes(True, seconds=10)
    assert _becomes(False, seconds=10)
    child = os.fork()
    if not child:
        with sleeps_when_busy():
            os._exit(0 if _becomes(True, seconds=10) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_who_has_decided_how_threads_wait_is_left_alone(two_threads, monkeypatch, name):
    monkeypatch.setenv(name, "passive" if name == "OMP_WAIT_POLICY" else "1000")
    monkeypatch.setattr(sleeping_threads.OtherLoad, "cores", lambda self: 99.0)
    monkeypatch.setattr(sleeping_threads, "_SAMPLED", 0.02)
    with sleeps_when_busy():
        assert not _becomes(True, seconds=0.5)

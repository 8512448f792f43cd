import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ravine.core.other_load import OtherLoad

_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="no /proc/stat")


def _stat(root: Path, seconds: dict[int, float]) -> None:
    """Writes how long each core was busy; a tenth of it with the system's work."""
    tick = os.sysconf("SC_CLK_TCK")
    rows = [
        f"cpu{n} {round(0.9 * s * tick)} 0 {round(0.1 * s * tick)} 77777 55555 0 0 0 0 0"
        for n, s in seconds.items()
    ]
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text("\n".join(["cpu  1 2 3 4", *rows, "ctxt 5"]) + "\n")


@_LINUX
def test_time_of_others_is_that_of_the_cores_this_process_may_use(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 2})
    clock = iter([100.0, 102.0, 104.0])
    own = iter([10.0, 11.0, 14.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(time, "process_time", lambda: next(own))
    _stat(tmp_path, {0: 0.0, 1: 50.0, 2: 60.0, 3: 0.0})
    load = OtherLoad(tmp_path)
    assert load.is_known
    _stat(tmp_path, {0: 2.0, 1: 52.0, 2: 62.0, 3: 2.0})  # 4 s of two cores, 1 s of them our own
    assert load.cores() == pytest.approx(1.5)
    _stat(tmp_path, {0: 4.0, 1: 54.0, 2: 63.0, 3: 4.0})  # 3 s, all our own
    assert load.cores() == 0.0


def test_a_system_that_does_not_tell_is_not_busy(tmp_path):
    load = OtherLoad(tmp_path)
    assert not load.is_known
    assert load.cores() == 0.0


@_LINUX
def test_an_endless_loop_beside_takes_a_core_or_its_share_of_one():
    beside = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        load = OtherLoad()
        time.sleep(1.0)
        assert load.cores() > 0.1  # this process sleeps: all that is used is others'
    finally:
        beside.kill()
        beside.wait()

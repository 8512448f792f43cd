"""What Linux has and other systems have not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# torch and asyncio load fcntl here themselves: it is hidden from what comes after them.
_WITHOUT = """
import asyncio, os, pkgutil, signal, sys
import torch, torch.distributed
for name in ("fcntl", "resource"):
    sys.modules[name] = None
del os.fork, signal.SIGKILL
import ravine
from importlib import import_module
from pathlib import Path
root = Path(ravine.__file__).parent
count = 0
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
    if "triton" not in name and not name.endswith("__"):
        import_module(name)
        count += 1
from ravine.cli.main import COMMANDS, load_command
for command in COMMANDS:
    load_command(command)
print(count)
"""


@pytest.mark.slow
def test_every_file_can_be_imported_where_locks_and_forks_of_linux_are_missing() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 300


# The lock of Windows, made of this system's, as msvcrt exists there only.
_TRAINS = """
import asyncio, subprocess, sys  # they ask for msvcrt themselves
import fcntl as of_this_system
from types import SimpleNamespace
sys.modules["msvcrt"] = SimpleNamespace(
    LK_NBLCK=of_this_system.LOCK_EX | of_this_system.LOCK_NB,
    LK_LOCK=of_this_system.LOCK_EX,
    locking=lambda handle, mode, count: of_this_system.flock(handle, mode),
)
{without}
import numpy as np
from pathlib import Path
import ravine.core.file_lock, ravine.core.memory
ravine.core.file_lock.sys = SimpleNamespace(platform="win32")
ravine.core.memory.sys = SimpleNamespace(platform="win32", modules=sys.modules)
folder = Path(sys.argv[1])
chance = np.random.default_rng(0)
images = chance.integers(0, 256, (60, 8, 8), dtype=np.uint8)
np.savez(folder / "noise.npz", images=images, labels=np.arange(60) % 2)
run = ravine.train(folder / "noise.npz", model="wrn-10-1", epochs=1, device="cpu",
                   convolution="torch", augment="none", out=folder / "run", show="none")
assert ravine.Run.load(run.path).evaluate(folder / "noise.npz")["count"] == 60
assert ravine.resume(run.path, show="none").result == run.result
"""


@pytest.mark.slow
def test_a_run_is_trained_and_evaluated_where_they_are_missing(tmp_path: Path) -> None:
    code = _TRAINS.format(without=_WITHOUT.partition("from importlib")[0])
    environment = {**os.environ, "RAVINE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        env=environment,
    )

    assert done.returncode == 0, done.stderr[-2000:]

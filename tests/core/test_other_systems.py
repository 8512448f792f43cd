"""What Linux has and other systems have not."""

import subprocess
import sys

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


def test_every_file_can_be_imported_where_locks_and_forks_of_linux_are_missing() -> None:
    done = subprocess.run([sys.executable, "-c", _WITHOUT], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 300

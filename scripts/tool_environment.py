"""An environment of its own for tools that the package and its tests do not need."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def tool_environment(lock: str) -> Path:
    """Returns the folder of the programs that a lock names, in an environment below build/.

    It is made again when the lock changes.

    Args:
        lock: name of a file such as requirements-docs.lock.
    """
    wanted = (ROOT / lock).read_bytes()
    environment = ROOT / "build" / Path(lock).stem.replace("requirements", "environment")
    stamp = environment / "lock"
    if not (stamp.is_file() and stamp.read_bytes() == wanted):
        shutil.rmtree(environment, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "-q", "-r", ROOT / lock], check=True)
        stamp.write_bytes(wanted)
    return environment / "bin"

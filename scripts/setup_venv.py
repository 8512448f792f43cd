"""Installs requirements.lock into `.venv`; does nothing if it is up to date.

Every target of the Makefile runs it, so its usual case takes some milliseconds. It uses the
standard library only, and no syntax newer than Python 3.6 before the version is checked: an old
Python ends with one line, not a traceback.
"""

import hashlib
import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "made-from.json"
LIBRARY = "src/ravine/kernels/c/*"  # built when the package is installed
# Its interpreter runs the Triton kernels in the tests. Not in the lock: a torch with CUDA depends
# on the version that it needs.
TRITON = "triton==3.9.0"
# Its axe.min.js checks the pages in the tests. The package asks for playwright, 45 MB with a Node
# of its own, which nothing here calls.
AXE = "axe-playwright-python==0.1.8"


def fingerprint(name):
    """Returns a hash of a file of the project."""
    return hashlib.sha256((ROOT / name).read_bytes()).hexdigest()


def stamped():
    """Returns the fingerprints that the environment was made from; none if it was not finished."""
    try:
        return json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}


def pip(*arguments):
    """Runs the environment's pip."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    if subprocess.run(command, cwd=str(ROOT)).returncode:
        sys.exit("setup: pip failed (above); mend that and run the same command again")


def works():
    """Returns whether the environment's Python and pip run."""
    if not PYTHON.exists():
        return False
    tried = subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True)
    return tried.returncode == 0


def has(module):
    """Returns whether the environment has a module."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return subprocess.run([str(PYTHON), "-c", code, module]).returncode == 0


def make_environment():
    """Creates an empty environment."""
    shutil.rmtree(str(VENV), ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], capture_output=True, text=True)
    if made.returncode:
        shutil.rmtree(str(VENV), ignore_errors=True)
        sys.exit(
            f"setup: {sys.executable} cannot make a virtual environment; on Debian and Ubuntu: "
            "apt install python3-venv"
        )


def main():
    """Brings the environment up to date."""
    if sys.version_info < (3, 11):  # noqa: UP036 (run by whatever Python the user has)
        version = ".".join(str(part) for part in sys.version_info[:3])
        sys.exit(f"setup: Ravine needs Python 3.11 or later, got {version} ({sys.executable})")
    sources = [str(path.relative_to(ROOT)) for path in sorted(ROOT.glob(LIBRARY))]
    wanted = {
        name: fingerprint(name)
        for name in ("requirements.lock", "pyproject.toml", "CMakeLists.txt", *sources)
    }
    wanted["without dependencies"] = [TRITON, AXE]
    found = stamped()
    if found == wanted:
        return
    lock_changed = found.get("requirements.lock") != wanted["requirements.lock"]
    # An environment without a stamp may be the user's own, or unfinished: pip completes it.
    if (lock_changed and found) or not works():
        make_environment()
    STAMP.unlink(missing_ok=True)
    if lock_changed:
        print("setup: .venv from requirements.lock (once; some minutes)", flush=True)
        # With dependencies: torch names its CUDA libraries, exactly, on the platforms that
        # have them, and they are in no lock that serves all. All else is pinned.
        pip("install", "-qq", "--requirement", "requirements.lock")
    if platform.system() == "Linux" and platform.machine() == "x86_64" and not has("triton"):
        pip("install", "-qq", "--no-deps", TRITON)
    if not has("axe_playwright_python"):
        pip("install", "-qq", "--no-deps", AXE)
    pip("install", "-qq", "--no-deps", "--no-build-isolation", "--editable", ".")
    STAMP.write_text(json.dumps(wanted))


if __name__ == "__main__":
    main()

"""Builds the site of docs/ into build/site: `make docs`. Warnings are errors.

Its tools read the package without importing it, so that torch is not needed.
"""

import os
import subprocess
import sys

from tool_environment import ROOT, tool_environment


def main() -> None:
    """Builds the site, and prints where it begins."""
    programs = tool_environment("requirements-docs.lock")
    # The theme's makers advertise a successor in the middle of the log.
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    build = [programs / "mkdocs", "build", "--strict"]
    done = subprocess.run(build, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    print(f"site: {ROOT / 'build' / 'site' / 'index.html'}")


if __name__ == "__main__":
    main()

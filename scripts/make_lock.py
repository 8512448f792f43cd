"""Writes requirements.lock: the newest versions that fit pyproject.toml, with torch pinned.

    make lock

pip resolves the requirements of the package, its build and its tests, without installing.
Left out are hashes (torch differs by platform) and the CUDA libraries, which torch itself
pins on the platforms that have them.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"
PLATFORM_ONLY = ("nvidia-", "cuda-", "triton")
HEAD = """\
# Exact versions of everything that `make` installs; written by `make lock`, not by hand.
# Platform libraries of torch (CUDA) are pinned by torch itself.
"""


def wanted(project: dict) -> list[str]:
    """Returns the requirements of the package, its build and its development."""
    return [
        TORCH,
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *project["dependency-groups"]["dev"],
        *project["dependency-groups"]["formats"],
        *project["dependency-groups"]["exports"],
        *project["dependency-groups"]["live"],
    ]


def resolve(requirements: list[str]) -> dict[str, str]:
    """Returns the version of each package that pip would install into an empty environment."""
    with tempfile.TemporaryDirectory() as folder:
        venv, report = Path(folder, "venv"), Path(folder, "report.json")
        subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        options = ["-qq", "--dry-run", "--ignore-installed", "--report", str(report)]
        subprocess.run([*pip, "install", *options, *requirements], check=True)
        rows = json.loads(report.read_text())["install"]
    return {row["metadata"]["name"]: row["metadata"]["version"] for row in rows}


def main() -> None:
    """Writes the lock."""
    found = resolve(wanted(tomllib.loads((ROOT / "pyproject.toml").read_text())))
    # A local version (2.13.0+cpu) names one platform's build.
    lines = [
        f"{name}=={version.split('+')[0]}\n"
        for name, version in sorted(found.items(), key=lambda item: item[0].lower())
        if not name.lower().startswith(PLATFORM_ONLY)
    ]
    (ROOT / "requirements.lock").write_text(HEAD + "".join(lines))
    print(f"requirements.lock: {len(lines)} packages")


if __name__ == "__main__":
    main()

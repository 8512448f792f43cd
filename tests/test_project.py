"""What the project promises to a fresh machine: the lock, the set-up, the hooks."""

import re
import runpy
import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
LOCK = [
    line
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.startswith("#")
]


def locked() -> dict[str, str]:
    rows = (line.split("==") for line in LOCK)
    return {re.sub("[-_.]+", "-", name).lower(): pinned for name, pinned in rows}


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *project["dependency-groups"]["dev"],
    ]
    return [Requirement(line) for line in lines]


def test_the_lock_holds_exact_versions_and_no_host() -> None:
    assert [line for line in LOCK if not re.fullmatch(r"[\w.-]+==\d+(\.\w+)*", line)] == []
    assert "torch==2.13.0" in LOCK


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_the_lock_fits_what_the_project_asks_for(requirement: Requirement) -> None:
    name = re.sub("[-_.]+", "-", requirement.name).lower()

    assert locked()[name] in requirement.specifier


def test_the_package_takes_a_wider_range_of_torch_than_the_lock() -> None:
    (torch,) = (r for r in wanted() if r.name == "torch")

    assert str(torch.specifier) == ">=2.9"


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert version("ravine") == project["version"]


def test_an_old_python_hears_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18))
    main = runpy.run_path(str(ROOT / "scripts" / "setup_venv.py"))["main"]

    with pytest.raises(SystemExit, match=r"needs Python 3\.11 or later, got 3\.9\.18"):
        main()


def test_make_without_a_python_says_which_is_needed() -> None:
    done = subprocess.run(
        ["make", "setup", "PYTHON="], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "needs Python 3.11 or later" in done.stderr


def test_hooks_and_ci_need_no_download() -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()

    assert re.findall(r"repo: (.*)", hooks) == ["local"]
    assert {"ruff", "mypy", "lint-imports"} <= set(re.findall(r"\.venv/bin/([\w-]+)", hooks))
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_a_plain_install_brings_neither_torchvision_nor_scipy() -> None:
    """Of the installed versions: what the dependencies need, and what that needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    open_names = {Requirement(line).name for line in project["dependencies"]}
    found: set[str] = set()
    while open_names:
        name = open_names.pop()
        found.add(re.sub("[-_.]+", "-", name).lower())
        for line in requires(name) or ():
            needed = Requirement(line)
            applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
            if applies and re.sub("[-_.]+", "-", needed.name).lower() not in found:
                open_names.add(needed.name)

    assert {"torch", "sympy", "kiwisolver"} <= found  # indirect ones too
    assert not found & {"torchvision", "backpack-for-pytorch", "curvlinops-for-pytorch", "scipy"}
    extras = project["optional-dependencies"]
    assert extras["landscape"] == ["curvlinops-for-pytorch>=3.0", "scipy>=1.11"]
    assert extras["mat"] == ["scipy>=1.11"]

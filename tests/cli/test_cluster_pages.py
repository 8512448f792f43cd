"""The jobs on the pages of SLURM and Kubernetes: bash reads them, and ravine has their options."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = re.compile(r"\b(train|race|resume) (?:/|--|\"\$)[^)|\n]*(?:\n +--[^\n]*)*")


def _scripts(page: str) -> list[str]:
    """Returns the scripts of a page: indented blocks of SLURM, and the lines below `- |`."""
    text = (DOCS / page).read_text()
    blocks = re.findall(r"(?:^ {4}.*\n)+", text, re.MULTILINE)
    if page == "slurm.md":
        return [re.sub(r"^ {4}", "", block, flags=re.MULTILINE) for block in blocks]
    inside = [re.search(r"- \|\n((?: {18}.*\n)+)", block) for block in blocks]
    return [found.group(1) for found in inside if found]


@pytest.mark.parametrize(("page", "count"), [("slurm.md", 2), ("kubernetes.md", 1)])
@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_reads_every_script(page: str, count: int) -> None:
    scripts = _scripts(page)

    assert len(scripts) == count
    for script in scripts:
        done = subprocess.run(["bash", "-n"], input=script, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["slurm.md", "kubernetes.md"])
def test_ravine_has_every_option_of_the_jobs(ravine, page: str) -> None:  # type: ignore[no-untyped-def]
    commands = [match.group() for match in COMMANDS.finditer((DOCS / page).read_text())]

    assert len(commands) >= 3
    for words in commands:
        known = ravine(words.split()[0], "--help", "all").out
        for option in re.findall(r"--[a-z-]+", words):
            assert option in known, (words, option)

"""The pages of names are those of the public names; every page is reached from the first one."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

import ravine

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(autouse=True)
def scripts_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))


def script(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "scripts" / f"{name}.py"))


def test_the_pages_of_names_are_those_of_the_packages() -> None:
    """Out of date: `make map` writes them again."""
    for name, text in script("make_api_pages")["pages"]().items():
        assert (DOCS / "api" / f"{name}.md").read_text() == text


def test_every_name_of_the_front_door_stands_on_a_page() -> None:
    pages = "".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    rooms = {"data", "landscapes", "models", "nn", "optim", "schedules"}
    values = {"__version__"}
    for name in set(ravine.__all__) - rooms - values:
        assert re.search(rf"\.{name}$", pages, re.MULTILINE), name


def test_every_page_is_reached_from_the_first() -> None:
    todo, reached = [DOCS / "index.md"], set()
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in re.findall(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).is_file(), f"{page.name}: {link}"
            todo.append((page.parent / link).resolve())
    assert {path.relative_to(DOCS) for path in DOCS.rglob("*.md")} == {
        path.relative_to(DOCS) for path in reached
    }


def test_links_of_the_readme_work_on_an_index() -> None:
    readme_for_index = script("make_wheel")["readme_for_index"]
    text = (ROOT / "README.md").read_text()
    for path in re.findall(r"\]\((?!https?://)([^)#]+)", text):
        assert (ROOT / path).exists(), path
    absolute = readme_for_index(text, "https://example.org/o/ravine/blob/main")
    assert "](https://example.org/o/ravine/blob/main/docs/index.md)" in absolute
    assert "](https://example.org/o/ravine/raw/main/docs/pictures/page-report.png)" in absolute
    assert "pip install ravine   " in absolute
    assert "'.[" not in absolute
    plain = readme_for_index(text, "")
    for found in (absolute, plain):
        assert not re.search(r"\]\((?!https://)", found)

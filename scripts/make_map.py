"""Writes docs/map.md: each room, and each file with its first line. `make map`.

The floors come from import-linter's contract in pyproject.toml, the sentences from the files
themselves, so that the map is what the code says.
"""

import ast
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "ravine"
HEAD = """# The map: every file of the package

Written by `make map` from the files' first lines; a test fails when it is out of date.
Imports point down this page, from floor to floor; rooms of one floor do not import each other.
[architecture.md](architecture.md) explains how the rooms work together.
"""


def floors() -> list[list[str]]:
    """Returns the rooms of each floor, from the top of the house to its ground."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (layers,) = (c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    return [
        [room.strip().removeprefix("ravine.") for room in layer.split("|")]
        for layer in layers["layers"]
    ]


def first_line(path: Path) -> str:
    """Returns the first sentence of a file's docstring, or of a C file's first comment."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(text)) or ""
    else:
        text = text.partition("/*")[2].partition("*/")[0]
    paragraph = text.strip().partition("\n\n")[0]
    return " ".join(line.strip(" *") for line in paragraph.splitlines())


def files_of(room: str) -> list[Path]:
    """Returns the source files of a room, those of its folders last."""
    found = [p for p in (SOURCE / room).rglob("*") if p.suffix in (".py", ".c", ".h")]
    return sorted(found, key=lambda p: (len(p.relative_to(SOURCE).parts), str(p)))


def room_lines(room: str) -> list[str]:
    """Returns the section of a room."""
    sentence = first_line(SOURCE / room / "__init__.py")
    lines = [f"### {room}/", "", sentence, "", "| file | |", "|---|---|"]
    for path in files_of(room):
        if path.name != "__init__.py":
            name = path.relative_to(SOURCE / room).as_posix()
            lines.append(f"| `{name}` | {first_line(path).replace('|', '∣')} |")
    return [*lines, ""]


def page() -> str:
    """Returns the whole page."""
    lines = [HEAD]
    for number, rooms in zip(range(len(floors()), 0, -1), floors(), strict=True):
        lines += [f"## Floor {number}: {', '.join(rooms)}", ""]
        for room in rooms:
            lines += room_lines(room)
    return "\n".join(lines)


if __name__ == "__main__":
    (ROOT / "docs" / "map.md").write_text(page(), encoding="utf-8")
    count = sum(len(files_of(room)) for rooms in floors() for room in rooms)
    print(f"docs/map.md: {count} files", file=sys.stderr)

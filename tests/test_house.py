"""The house keeps its plan: rooms, a map that is current, one name for one thing."""

import ast
import re
import runpy
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "ravine"
MAP = runpy.run_path(str(ROOT / "scripts" / "make_map.py"))

# A command has one file that parses it and one of the same name that does it; every room has a
# file of settings. No other name stands twice.
COMMANDS = {
    "bench",
    "check",
    "diagnose",
    "evaluate",
    "landscape",
    "predict",
    "race",
    "race_function",
}
COMMANDS |= {"compare", "export", "push", "report", "resume", "train", "watch"}
TWICE = {"__init__.py", "settings.py"} | {f"{name}.py" for name in COMMANDS}

# Words of a private dialect that the field's words replaced (docs/glossary.md). Matched against
# whole parts of the names of modules, classes and public functions: `LayerLook`, `tell_audit`.
GONE = {
    "look", "looks", "looked", "tell", "tells", "told", "teller", "place", "places", "beside",
    "diary", "silence", "subject", "untouched", "restored", "crew",
    "steward", "nursery", "segment", "ground", "survey", "spot", "relief", "scene",
    "scenes", "walk", "racer", "racers", "shelf",
    "switches", "companions", "noticed", "preflight", "joint", "desk",
    "aside", "entrant", "entrants",
}  # fmt: skip
# Where the word is the field's own: what it is part of.
ALLOWED = {
    "look_ahead",  # Nadam
    "looks",  # Monitor.looks, a public name of before
}


def python_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_no_file_lies_loose_in_the_root() -> None:
    loose = {path.name for path in SOURCE.iterdir() if path.is_file()}

    assert loose == {"__init__.py", "__main__.py", "py.typed"}


def test_every_room_stands_on_a_floor_of_the_map() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").is_file()}

    assert rooms == {room for floor in MAP["floors"]() for room in floor}
    assert len(MAP["floors"]()) == 8


def test_the_map_is_what_the_files_say() -> None:
    assert (ROOT / "docs" / "map.md").read_text() == MAP["page"](), "run make map"


def test_every_room_is_described_in_contributing() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()

    assert [r for floor in MAP["floors"]() for r in floor if f"{r}/" not in text] == []


def test_no_file_name_stands_twice() -> None:
    count = Counter(path.name for path in python_files())

    assert [name for name, n in count.items() if n > 1 and name not in TWICE] == []


def test_no_public_class_name_stands_twice() -> None:
    names = [
        node.name
        for path in python_files()
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]

    assert [name for name, n in Counter(names).items() if n > 1] == []


def public_names(path: Path) -> Iterator[str]:
    """Yields the names of a module, and of its classes, functions and methods that are public."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        named = isinstance(node, ast.ClassDef | ast.FunctionDef)
        if named and not node.name.startswith("_"):
            yield node.name


def parts(name: str) -> set[str]:
    return {p.lower() for p in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


@pytest.mark.parametrize("room", sorted(p.name for p in SOURCE.iterdir() if p.is_dir()))
def test_no_name_of_the_private_dialect_comes_back(room: str) -> None:
    found = {
        f"{path.relative_to(SOURCE)}: {name}"
        for path in (SOURCE / room).rglob("*.py")
        for name in public_names(path)
        if parts(name) & GONE and name not in ALLOWED
    }

    assert found == set()


# Functions that may have more than 40 lines without their docstring, and why.
LONG = {
    "cli/race.py race": "its options: one line each",
    "kernels/triton_steps.py step": "a Triton kernel, which calls no functions of Python",
}


def test_no_function_has_more_than_forty_lines_without_a_reason() -> None:
    found = set()
    for path in python_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and path.name != "triton_rules.py":
                text = ast.get_docstring(node, clean=False)
                documented = len(text.splitlines()) if text else 0
                if node.end_lineno - node.lineno + 1 - documented > 40:  # type: ignore[operator]
                    found.add(f"{path.relative_to(SOURCE)} {node.name}")

    assert found == set(LONG)


def test_no_file_has_more_than_four_hundred_lines() -> None:
    generated = {"triton_rules.py"}
    long = [p.name for p in python_files() if len(p.read_text().splitlines()) > 400]

    assert set(long) <= generated


def test_no_room_is_named_for_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "misc"}

    assert [p for p in SOURCE.rglob("*") if p.stem in empty] == []


# A signature that mentions an array, and the shapes that its docstring then names: a tuple with a
# capital letter, a number or an ellipsis, such as (N, C, H, W), (3,), (..., 2) or (D); or the words
# 0-dim, scalar or shape.
ARRAY = re.compile(r"\b(Tensor|ndarray|NDArray)\b")
LENGTH = r"(?:[A-Z]\w*|\d+|…|\.\.\.|[a-z_]+)(?: ?[·×/+−*-] ?\w+)*"
SHAPE = re.compile(
    rf"\((?=[^()]*(?:[A-Z0-9]|…|\.\.\.))(?:{LENGTH}(?:,|(?:, ?{LENGTH})+)|[A-Z])\)"
    r"|\(\w+,\)|\b0-dim\b|\bscalar\b|\bshapes?\b"
)
TRITON = {"triton_rules.py", "triton_steps.py"}  # generated, and kernels: pointers and blocks


def public_functions(
    body: list[ast.stmt], inside: str = ""
) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yields the public functions, and the public methods of public classes, by dotted name."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield inside + node.name, node


def without_shapes(source: str) -> list[str]:
    """Returns the public functions on arrays whose docstring names no shape."""
    found = []
    for name, node in public_functions(ast.parse(source).body):
        returns = ast.unparse(node.returns) if node.returns else "None"
        if ARRAY.search(f"{ast.unparse(node.args)} -> {returns}") and not SHAPE.search(
            ast.get_docstring(node) or ""
        ):
            found.append(name)
    return found


def test_a_function_on_arrays_without_shapes_is_found() -> None:
    source = """
def with_letters(x: Tensor) -> None:
    'Of x, (N, C).'
def with_words(x: np.ndarray) -> None:
    'Of x, of any shape.'
def with_prose(x: Tensor) -> None:
    'Of x (mean, variance).'
def without(x) -> dict[str, Tensor]: ...
def _private(x: Tensor) -> None: ...
def without_arrays(x: int) -> None: ...
class Layer:
    def forward(self, x: Tensor) -> Tensor: ...
"""

    assert without_shapes(source) == ["with_prose", "without", "Layer.forward"]


@pytest.mark.parametrize("room", sorted(p.name for p in SOURCE.iterdir() if p.is_dir()))
def test_every_public_function_on_arrays_names_their_shapes(room: str) -> None:
    found = {
        f"{path.relative_to(SOURCE)}: {name}"
        for path in (SOURCE / room).rglob("*.py")
        if path.name not in TRITON
        for name in without_shapes(path.read_text())
    }

    assert found == set()


def doc_pages() -> list[Path]:
    return [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]


@pytest.mark.parametrize("page", doc_pages(), ids=lambda page: page.name)
def test_every_source_file_that_a_page_names_exists(page: Path) -> None:
    rooms = "|".join(room for floor in MAP["floors"]() for room in floor)
    named = re.findall(rf"`(?:src/ravine/)?((?:{rooms})/[\w/]+\.(?:py|c|h))`", page.read_text())

    assert [n for n in named if "NAME" not in n and not (SOURCE / n).is_file()] == []

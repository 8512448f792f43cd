"""The front door: what it names, and how little it loads."""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

import ravine
from ravine.core.errors import RavineError

# Forks a child for each program: torch, which takes seconds, is imported once.
_FORKS = """
import json, os, sys
import torch
for program in sys.argv[1:]:
    sys.stdout.flush()
    if not os.fork():
        exec(program)
        print(json.dumps(sorted(sys.modules)))
        sys.stdout.flush()
        os._exit(0)
    if os.wait()[1]:
        sys.exit(f"failed: {program}")
"""
ROOMS = ("optim", "nn", "models", "schedules")
TRAINING = "import ravine.workflows.new_run"


def loaded_by(*words: str) -> list[set[str]]:
    """Returns the modules of each line that a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # Python warns of forks beside threads
        capture_output=True,
        text=True,
        check=True,
    )
    return [set(json.loads(line)) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Returns the modules after each room alone, and after what trains, torch being there."""
    programs = [f"from ravine.{room} import *" for room in ROOMS]
    found = loaded_by(_FORKS, *programs, TRAINING)
    return dict(zip([*ROOMS, TRAINING], found, strict=True))


def without_torch(code: str) -> set[str]:
    """Returns the modules that a fresh interpreter has loaded after `code`."""
    (modules,) = loaded_by(code + "\nimport sys, json; print(json.dumps(sorted(sys.modules)))")
    return modules


def test_all_is_sorted_and_every_name_of_it_is_there() -> None:
    assert ravine.__all__ == sorted(ravine.__all__)
    assert dir(ravine) == ravine.__all__
    for name in ravine.__all__:
        assert getattr(ravine, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = ravine.trian


def test_importing_ravine_loads_no_room_and_no_library() -> None:
    modules = without_torch("import ravine")

    assert {name for name in modules if name.startswith("ravine.")} == set()
    assert not modules & {"torch", "numpy", "matplotlib", "typer"}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_alone_loads_neither_training_nor_pictures(
    loaded: dict[str, set[str]], room: str
) -> None:
    modules = loaded[room]
    assert f"ravine.{room}" in modules
    foreign = {"training", "experiment", "recipe", "reports", "cli", "data"}

    assert not {f"ravine.{name}" for name in foreign} & modules
    assert not modules & {"matplotlib", "typer", "rich", "jinja2", "scipy"}


def test_reports_load_no_torch() -> None:
    modules = without_torch("from ravine.reports import *; import ravine.reports.race_page")

    assert "matplotlib" in modules
    assert "torch" not in modules


def test_the_command_is_installed() -> None:
    (command,) = (e for e in entry_points(group="console_scripts") if e.name == "ravine")

    assert command.value == "ravine.cli.main:main"


def test_a_users_mistake_in_python_is_a_ravine_error() -> None:
    with pytest.raises(RavineError, match="did you mean 'wrn-16-4'"):
        ravine.models.build("wrn16-4", classes=10)


def test_the_parts_work_together_in_a_strangers_loop() -> None:
    """The code of docs/own-loop.md, at its smallest."""
    model = ravine.models.build("wrn-10-1", classes=3, channels=1, image_size=8)
    ravine.nn.init_(model, "he", generator=torch.Generator().manual_seed(0))
    groups = ravine.optim.parameter_groups(model, weight_decay=5e-4)
    optimizer = ravine.optim.Momentum(groups, lr=1.0, momentum=0.9, nesterov=True)
    images = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(12) % 3
    factor = ravine.schedules.with_warmup(ravine.schedules.cosine, share=0.05)
    losses = []
    for step in range(12):
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * factor(step / 12)
        loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        decision = ravine.optim.decide(list(model.parameters()), loss.detach(), clip=1.0)
        optimizer.step(ok=decision.ok, scale=decision.scale, clear=True)
        losses.append(float(loss.detach()))

    assert losses[-1] < losses[0] / 2


def test_training_starts_without_the_compiler_and_triton(loaded: dict[str, set[str]]) -> None:
    """Importing them takes seconds, and Triton reports leaks at the end of every process."""
    assert "ravine.training.loop" in loaded[TRAINING]
    assert not {"torch._dynamo", "triton", "sympy"} & loaded[TRAINING]


def test_training_starts_without_what_its_end_needs(loaded: dict[str, set[str]]) -> None:
    """Plots are drawn once it has ended; no statistics are needed before the first step."""
    assert not {"matplotlib", "jinja2", "scipy", "curvlinops", "torchvision"} & loaded[TRAINING]


def lazy_packages() -> list[str]:
    """Returns the packages that re-export names, and load them when they are used."""
    root = Path(ravine.__file__).parent
    found = [path for path in root.glob("*/__init__.py") if "lazy_names" in path.read_text()]
    return sorted(path.parent.name for path in found)


@pytest.mark.parametrize("room", lazy_packages())
def test_every_name_of_a_lazy_room_is_there_and_hides_no_file(room: str) -> None:
    """Loading a file `room/name.py` sets `room.name`, which no `__getattr__` would be asked for."""
    package = import_module(f"ravine.{room}")

    assert sorted(package.__all__) == sorted(dir(package))
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert not (Path(package.__file__ or "").parent / f"{name}.py").exists()
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


def test_what_editors_read_of_a_lazy_room_is_what_runs() -> None:
    """Names under TYPE_CHECKING come from the modules that load them."""
    for room in ("", *lazy_packages()):
        path = Path(ravine.__file__).parent / room / "__init__.py"
        declared = {}
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module not in ("typing", "importlib"):
                names = [name.name for name in node.names]
                every = import_module(node.module or "").__all__ if names == ["*"] else names
                declared |= dict.fromkeys(every, node.module)
        package = import_module(f"ravine.{room}".rstrip("."))
        for name in package.__all__:
            found = getattr(import_module(declared[name]), name)
            assert getattr(package, name) is found, (room, name)

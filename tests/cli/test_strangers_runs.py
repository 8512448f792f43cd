"""A stranger's run runs nothing: every command and call refuses the code that a file names.

The network's module writes a marker beside itself when it is imported, so that an import that was
not asked for is seen. The run was trained by a user who named the network; then its folder changes
hands.
"""

import json
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

import ravine
from ravine.core.allowed_code import NO_CODE, AllowedCode
from ravine.core.errors import CodeRefusedError, RunError, SettingError
from ravine.core.events import Event, StepDone
from ravine.ops.kernel_plan import guessed_plan
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import write_json
from ravine.training.stop import Interrupted
from ravine.workflows.diagnose import diagnose_run
from ravine.workflows.landscape import run_surface
from ravine.workflows.race_plan import RacePlan, make_plan, make_spec
from ravine.workflows.race_settings import RaceSettings
from ravine.workflows.race_worker.job import run_job
from ravine.workflows.race_worker.slots import JobSlots
from ravine.workflows.race_worker.timing import Timing

Command = Callable[..., Any]
NETWORK = """
from pathlib import Path
from torch import nn
Path(__file__).with_suffix(".imported").touch()

def net(classes, channels):
    import strangers_helper
    pool = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(8, classes)]
    return nn.Sequential(nn.Conv2d(channels, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), *pool)
"""
NAME = "strangers:net"
SETTINGS: dict[str, Any] = {
    "batch": 12, "epochs": 3, "device": "cpu", "threads": 1, "checkpoint_every": 0,
    "augment": "none",
}  # fmt: skip


def forget() -> None:
    """Makes the next import of the planted modules a first one."""
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("strangers")]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder with data, code, a finished run `run` and an unfinished one `half`."""
    place = tmp_path_factory.mktemp("strangers")
    chance = np.random.default_rng(0)
    labels = np.arange(48) % 2
    images = chance.integers(0, 100, (48, 8, 8, 1), dtype=np.uint8)
    images[labels == 1, ::2] += 100
    np.savez(place / "data.npz", images=images, labels=labels)
    (place / "strangers.py").write_text(NETWORK)
    (place / "strangers_helper.py").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "path", list(sys.path))
        patch.setenv("RAVINE_CACHE", str(place / "cache"))
        data = str(place / "data.npz")
        ravine.train(data, out="run", model=NAME, **SETTINGS)

        def stop(event: Event) -> None:
            if isinstance(event, StepDone) and event.step == 4:
                signal.raise_signal(signal.SIGTERM)

        with pytest.raises(Interrupted):
            ravine.train(data, out="half", model=NAME, observers=[stop], **SETTINGS)
    forget()
    (place / "strangers.imported").unlink()
    return place


@pytest.fixture
def place(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Returns a copy of all of it, which is the working folder."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    forget()
    yield tmp_path
    forget()


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


COMMANDS = [
    ["train", "--recipe", "run/recipe.toml", "--out", "again"],
    ["train", "--recipe", "run/recipe.toml", "--seed", "3"],
    ["resume", "half"],
    ["diagnose", "run"],
    ["diagnose", "half", "--try", "--labels-probe"],
    ["evaluate", "run", "data.npz"],
    ["evaluate", "run/model.safetensors", "data.npz"],
    ["predict", "run", "data.npz"],
    ["landscape", "run"],
    ["race", "--recipe", "run/recipe.toml", "--optimizers", "adam,nadam", "--out", "race"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_refuses_code_that_a_file_names(
    ravine: Command, place: Path, command: list[str]
) -> None:
    before = files(place)
    said = ravine(*command)

    assert said.code == 2
    assert said.out == ""
    assert said.err.count("\n") <= 2  # a command that does not fit stands on a line of its own
    file = next(part for part in command[1:] if part.startswith(("run", "half")))
    assert re.match(rf"ravine: {file}(/[\w.]+)?: its network is the code '{NAME}'", said.err)
    assert f"ravine {' '.join(command)} --allow-code {NAME}" in said.err
    assert files(place) == before
    assert not {"strangers", "strangers_helper"} & set(sys.modules)


def test_a_proof_of_a_run_refuses_its_code_too(ravine: Command, place: Path) -> None:
    before = files(place / "run")
    said = ravine("resume", "run", "--verify", "--quiet")

    assert said.code == 2
    assert f"ravine resume run --verify --quiet --allow-code {NAME}" in said.err
    assert not (place / "strangers.imported").exists()
    assert {path for path in files(place / "run") if path.name != ".lock"} <= set(before)


CALLS: dict[str, Callable[..., Any]] = {
    "train": lambda **more: ravine.train(recipe="run/recipe.toml", out="again", **more),
    "resume": lambda **more: ravine.resume("half", **more),
    "verify": lambda **more: ravine.verify("run", **more),
    "Run.load": lambda **more: ravine.Run.load("run", **more).model,
    "diagnose_run": lambda **more: diagnose_run("run", **more),
    "run_surface": lambda **more: run_surface(
        "run", along="line", x=(-1.0, 1.0, 3), images=8, device="cpu", **more
    ),
    "run_surface to others": lambda **more: run_surface(
        "run", to=["other"], x=(0.0, 1.0, 3), images=8, device="cpu", **more
    ),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_call_refuses_code_unless_it_is_named(place: Path, call: str) -> None:
    shutil.copytree("run", "other")
    with pytest.raises(CodeRefusedError, match=r"run|half") as caught:
        CALLS[call]()
    assert f"allow_code='{NAME}'" in str(caught.value)
    with pytest.raises(CodeRefusedError):
        CALLS[call](allow_code="strangers:other")
    assert not (place / "strangers.imported").exists()
    assert not (place / "again").exists()
    assert not (place / "run" / "landscape").exists()

    CALLS[call](allow_code=NAME)
    assert (place / "strangers.imported").exists()


def test_the_code_of_another_run_is_refused_before_anything_is_written(place: Path) -> None:
    shutil.copytree("run", "other")
    plain = ravine.train(str(place / "data.npz"), out="plain", model="wrn-10-1", **SETTINGS)
    with pytest.raises(CodeRefusedError, match=r"other/model\.safetensors"):
        run_surface(plain.path, to=["other"], images=8, device="cpu")
    assert not (place / "strangers.imported").exists()
    assert not (plain.path / "landscape").exists()


def test_named_code_works_from_training_to_prediction(ravine: Command, place: Path) -> None:
    allow = ["--allow-code", NAME, "--quiet"]
    alone = (place / "run" / "model.safetensors").read_bytes()

    assert ravine("resume", "half", *allow).code == 0
    assert (place / "half" / "model.safetensors").read_bytes() == alone
    assert "bitwise the same" in ravine("resume", "half", "--verify", *allow).out
    again = ravine("train", "--recipe", "half/recipe.toml", "--out", "again", *allow)
    assert again.code == 0, again.err
    assert (place / "again" / "model.safetensors").read_bytes() == alone
    assert ravine("diagnose", "half", "--try", "--steps", "2", "--seeds", "2", *allow).code == 0
    assert ravine("evaluate", "half", "data.npz", *allow).code == 0
    assert ravine("evaluate", "half", "data.npz", "--model", NAME, "--quiet").code == 0
    Path("new").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save("new/dark.png")
    assert ravine("predict", "half", "new", *allow).code == 0
    assert "dark.png" in Path("predictions.csv").read_text()
    said = ravine(
        "landscape", "half", "--along", "line", "--x=-1:1:3", "--images", "8", *allow
    )  # fmt: skip
    assert said.code == 0, said.err


def test_a_network_that_was_typed_needs_no_more(ravine: Command, place: Path) -> None:
    typed = ["--model", NAME, "--epochs", "1", "--quiet", "--batch", "12", "--out", "typed"]

    assert ravine("train", "data.npz", *typed).code == 0
    assert ravine("train", "--recipe", "run/recipe.toml", "--model", NAME, "-q").code == 0
    checked = ravine("check", "data.npz", "--model", NAME, "--no-learn", "--quiet")
    assert checked.code == 0, checked.err


def test_rows_and_reports_need_no_code(ravine: Command, place: Path) -> None:
    assert ravine("report", "run").code == 0
    assert ravine("diagnose", "run", "--rows-only").code == 0
    assert ravine("resume", "run", "--quiet").code == 0  # it has ended: nothing is built
    assert not (place / "strangers.imported").exists()


def test_installed_code_is_refused_just_as_well(ravine: Command, place: Path) -> None:
    settings, plan = read_recipe(Path("half/recipe.toml"))
    content = {k: v for k, v in {**settings, "model": "this:d"}.items() if v is not None}
    Path("half/recipe.toml").write_text(tomli_w.dumps({**content, "plan": plan}))
    sys.modules.pop("this", None)
    for command in (
        ["resume", "half"],
        ["diagnose", "half"],
        ["train", "--recipe", "half/recipe.toml"],
    ):
        said = ravine(*command)
        assert said.code == 2
        assert "--allow-code this:d" in said.err
    assert "this" not in sys.modules


@pytest.mark.parametrize("named", ["strangers", "strangers:", ":net", "a-b:net", "a:b:c", ""])
def test_what_is_no_module_and_callable_is_no_name_of_code(named: str) -> None:
    with pytest.raises(SettingError, match="is no module:callable"):
        AllowedCode.of(named)


def plant(folder: Path) -> None:
    (folder / "strangers.py").write_text(NETWORK)
    (folder / "strangers_helper.py").write_text("")


def test_nothing_is_imported_from_the_run_folder_that_is_the_working_folder(
    ravine: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run, command in (("run", "diagnose"), ("half", "resume"), ("run", "evaluate")):
        monkeypatch.chdir(place / run)
        plant(Path())
        more = ["../data.npz"] if command == "evaluate" else []
        said = ravine(command, ".", *more, "--allow-code", NAME)
        assert said.code == 2
        assert "nothing is imported from the run folder" in said.err
        assert said.err.count("\n") <= 2  # a command that does not fit stands on a line of its own
        assert not Path("strangers.imported").exists()
        assert str(Path.cwd()) not in sys.path


@pytest.mark.parametrize("how", ["PYTHONPATH", "link to the file", "link to the package"])
def test_nothing_is_imported_from_a_run_folder_however_it_is_reached(
    ravine: Command, place: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    (place / "strangers.py").unlink()
    name = NAME
    if how == "PYTHONPATH":
        plant(place / "run")
        monkeypatch.syspath_prepend(str(place / "run"))
    elif how == "link to the file":
        plant(place / "run")
        (place / "strangers.py").symlink_to(place / "run" / "strangers.py")
    else:
        package = place / "run" / "strangers"
        package.mkdir()
        (package / "__init__.py").write_text(NETWORK)
        (package / "nets.py").write_text(NETWORK)
        (place / "strangers").symlink_to(package)
        name = "strangers.nets:net"
    said = ravine("train", "data.npz", "--model", name, "--epochs", "1", "--out", "typed")

    assert said.code == 2
    assert "lies in the run folder" in said.err
    assert not list(place.rglob("*.imported"))
    assert not (place / "typed").exists()


def test_a_module_of_the_run_folder_that_points_elsewhere_is_not_imported(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "run" / "strangers.py").symlink_to(place / "strangers.py")
    monkeypatch.chdir(place / "run")
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as in an interactive Python
    with pytest.raises(SettingError, match="lies in the run folder"):
        ravine.Run.load(".", allow_code=NAME).model  # noqa: B018
    assert not (place / "strangers.imported").exists()


def test_the_working_folder_is_not_left_first_for_everything_else(place: Path) -> None:
    ravine.Run.load("run", allow_code=NAME).model  # noqa: B018

    assert sys.path[0] != str(place)
    assert sys.path[-1] == str(place)


@pytest.mark.longest
@pytest.mark.slow
def test_a_race_asks_again_and_its_workers_hear_what_is_allowed(
    ravine: Command, place: Path
) -> None:
    # The workers are processes of their own; what lies in the working folder is not their torch.
    (place / "torch.py").write_text("open('torch.imported', 'w').close()\nraise SystemExit(7)\n")
    begin = ["race", "data.npz", "--model", NAME, "--optimizers", "adam,nadam", "--trials", "1"]
    begin += ["--seeds", "1", "--epochs", "1", "--batch", "12", "--augment", "none", "--jobs", "1"]
    begin += ["--plane", "--quiet"]
    begun = ravine(*begin, "--out", "race")
    assert begun.code == 0, begun.err
    drawn = json.loads((place / "race" / "results.json").read_text())["plane"]
    assert "allow" not in str(drawn)  # None, or too little time for it on a busy machine
    again = next((place / "race" / "outcomes").glob("adam-seed*"))
    for path in (again, place / "race" / "results.json", place / "strangers.imported"):
        path.unlink()
    forget()

    refused = ravine("race", "--out", "race", "--quiet")
    assert refused.code == 2
    assert "race/race.json" in refused.err
    assert f"ravine race --out race --quiet --allow-code {NAME}" in refused.err
    assert not (place / "strangers.imported").exists()

    done = ravine("race", "--out", "race", "--jobs", "1", "--quiet", "--allow-code", NAME)
    assert done.code == 0, done.err
    assert (place / "strangers.imported").exists()
    assert '"ended"' in again.read_text()
    assert not (place / "torch.imported").exists()

    winner = ravine("train", "--recipe", "race/winner.toml", "--epochs", "1")
    assert winner.code == 2
    assert "race/winner.toml" in winner.err


def test_code_that_only_the_plan_of_a_race_names_is_refused(ravine: Command, place: Path) -> None:
    rules = RaceSettings.of(
        {"candidates": {"adam": {"optimizer": "adam"}, "nadam": {}}, "epochs": 1}
    )
    settings = {"data": "data.npz", "model": "wrn-10-1", "device": "cpu"}
    spec = make_spec(rules, recipe=None, given=settings, plane=False, code=NO_CODE)
    timing = Timing(epoch=1.0, around=1.0, steps_per_epoch=4, normalised=True)
    plan = make_plan(
        spec,
        {name: [timing] for name in spec.groups()},
        JobSlots(count=1, threads=1),
        elapsed=0.0,
        kernels=guessed_plan((), "float32"),
    )
    folder = place / "race"
    folder.mkdir()
    write_json(folder / "race.json", spec.to_values())
    text = json.dumps(plan.to_values()).replace('"wrn-10-1"', f'"{NAME}"')
    (folder / "plan.json").write_text(text)

    said = ravine("race", "--out", "race")
    assert said.code == 2
    assert "race/plan.json" in said.err
    assert list((folder / "runs").iterdir()) == []
    (job, *_) = RacePlan.from_values(json.loads(text)).graph.ready({})
    outcome = run_job(job, folder / "runs")  # and a worker that got it all the same refuses it too
    assert outcome is not None
    assert outcome.status == "failed"
    assert f"--allow-code {NAME}" in outcome.text
    assert not (place / "strangers.imported").exists()


def test_a_run_whose_folders_are_links_is_not_gone_on_with(place: Path) -> None:
    target = place / "elsewhere"
    (place / "half" / "checkpoints").rename(target)
    (place / "half" / "checkpoints").symlink_to(target)
    before = files(target)
    with pytest.raises(RunError, match="checkpoints is a link"):
        ravine.resume("half", allow_code=NAME)
    assert files(target) == before

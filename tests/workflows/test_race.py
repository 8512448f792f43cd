"""Races on real training, of small networks on striped pictures."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ravine
from ravine.core.errors import SettingError
from ravine.runs.recipe_file import read_recipe
from ravine.runs.rows import read_rows
from ravine.workflows.race_settings import RaceSettings, bytes_of
from ravine.workflows.race_worker.job import LOSSES

from .conftest import Call

RULES = ("--trials", "2", "--seeds", "2", "--epochs", "1", "--jobs", "2", "--quiet")
NETWORK = ("--model", "resnet-cifar-8", "--batch", "16", "--convolution", "guess")


@pytest.fixture(scope="module")
def striped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of stripes across and along, hard enough that no network is always right."""
    chance = np.random.default_rng(0)
    labels = np.arange(240) % 2
    images = chance.integers(0, 200, (240, 8, 8, 1), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[(slice(None, None, 2), slice(None))[:: 1 - 2 * label]] += 40
    path = tmp_path_factory.mktemp("striped") / "stripes.npz"
    np.savez(path, images=images, labels=labels)
    return path


pytestmark = pytest.mark.usefixtures("own_cache")


def results(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "results.json").read_text())


def timeless(folder: Path) -> dict[str, Any]:
    """All numbers of a race that do not come from a clock."""
    found = results(folder)
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in found["table"]]
    trials = {
        name: [{k: v for k, v in trial.items() if k not in ("seconds", "wall")} for trial in of_one]
        for name, of_one in found["trials"].items()
    }
    return {"table": rows, "comparisons": found["comparisons"], "trials": trials}


def weights(folder: Path) -> dict[str, bytes]:
    paths = sorted((folder / "runs").glob("*/model.safetensors"))
    return {path.parent.name: path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def whole(race: Call, striped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A race that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole") / "race"
    options = ("--optimizers", "momentum,adam", *NETWORK, *RULES, "--plane", "--out", out)
    with pytest.MonkeyPatch.context() as patch:
        # A tenth of a race of seconds is too little for a plane on a busy machine.
        patch.setattr("ravine.workflows.race_plane._LEAST", 600.0)
        patch.setattr("ravine.workflows.race_plane._MOST", 600.0)
        patch.setattr("ravine.workflows.race_plane._NODES", 7)
        code, _, err = race(striped, *options)
    assert (code, err) == (0, "")
    assert results(out)["plane"] is None
    return out


def test_a_race_has_a_table_a_page_and_a_recipe(whole: Path) -> None:
    found = results(whole)
    assert {row["name"] for row in found["table"]} == {"momentum", "adam"}
    for row in found["table"]:
        assert len(row["results"]) == 2
        assert row["mean"] == pytest.approx(sum(row["results"].values()) / 2)
        assert row["interval"][0] <= row["mean"] <= row["interval"][1]
    page = (whole / "report.html").read_text()
    assert "adam" in page
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "adam" in (whole / "plane.svg").read_text()


def test_candidates_share_weights_data_and_points(whole: Path) -> None:
    first = {
        read_rows(whole / "runs" / f"{name}-seed-1" / LOSSES)[0]["losses"][0]
        for name in ("momentum", "adam")
    }
    assert len(first) == 1, "the first loss on the first batch, bit for bit"
    trials = results(whole)["trials"]
    assert {name: len(of_one) for name, of_one in trials.items()} == {"momentum": 2, "adam": 2}


def test_the_winners_recipe_trains(whole: Path, tmp_path: Path) -> None:
    run = ravine.train(recipe=whole / "winner.toml", epochs=1.0, out=tmp_path / "run")
    assert run.result["accuracy"] > 0


def test_a_race_is_not_gone_on_with_in_other_words(race: Call, striped: Path, whole: Path) -> None:
    code, _, err = race(
        striped, "--optimizers", "momentum,nadam", *NETWORK, *RULES, "--plane", "--out", whole
    )
    assert code == 2
    assert "candidates" in err


# Runs a race that gets a signal when so many jobs are done; SIGKILL is for all its processes.
SIGNALLED = """
import os, signal, sys
from ravine.cli.main import main
from ravine.workflows.race_worker.controller import Controller

jobs, number = int(sys.argv[1]), int(sys.argv[2])
sys.argv[1:3] = ["race"]
check = Controller._check_signals

def check_with_signal(self):
    if len(list(self.folder.path.glob("outcomes/*@*.json"))) >= jobs:
        os.kill(0 if number == signal.SIGKILL else os.getpid(), number)
    check(self)

Controller._check_signals = check_with_signal
main()
"""


def stopped_after(jobs: int, by: signal.Signals, *arguments: object) -> tuple[int, str]:
    """Runs a race until so many jobs are done, and returns exit code and errors."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNALLED, str(jobs), str(int(by)), *map(str, arguments)],
        capture_output=True, text=True, start_new_session=True, timeout=600,
    )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_race_that_was_interrupted_and_killed_ends_bitwise_the_same(
    race: Call, striped: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "race"
    options = (striped, "--optimizers", "momentum,adam", *NETWORK, *RULES, "--plane", "--out", out)
    code, err = stopped_after(1, signal.SIGINT, *options)
    assert code == 130
    assert f"ravine race --out {out}" in err
    kept = {path: path.stat().st_mtime_ns for path in out.glob("outcomes/*@*.json")}
    code, _ = stopped_after(len(kept) + 2, signal.SIGKILL, *options)
    assert code == -signal.SIGKILL
    assert not (out / "results.json").exists()
    kept |= {path: path.stat().st_mtime_ns for path in out.glob("outcomes/*@*.json")}
    assert 3 <= len(kept) < 8
    code, _, err = race("--out", out, "--quiet")
    assert (code, err) == (0, "")
    assert all(path.stat().st_mtime_ns == changed for path, changed in kept.items()), "done twice"
    assert timeless(out) == timeless(whole)
    assert weights(out) == weights(whole)


@pytest.mark.slow
def test_what_fails_is_named_and_the_rest_goes_on(
    race: Call, striped: Path, tmp_path: Path
) -> None:
    out = tmp_path / "race"
    code, said, err = race(
        striped, "--vary", "lr=0.1,1e30", "--optimizer", "momentum", *NETWORK, *RULES[:-1],
        "--out", out,
    )  # fmt: skip
    assert code == 0, err
    found = results(out)
    broken = found["trials"]["lr=1e30"]
    assert {t["status"] for t in broken} == {"diverged"}
    assert all("not finite" in t["text"] for t in broken)
    first, last = found["table"]
    assert (first["name"], first["rank"]) == ("lr=0.1", 1)
    assert last["results"] == {}
    assert "lr=1e30" in said


def test_a_job_beyond_its_limit_is_out(race: Call, striped: Path, tmp_path: Path) -> None:
    out = tmp_path / "race"
    code, _, _ = race(
        striped, "--optimizers", "momentum,adam", *NETWORK, "--trials", "1", "--seeds", "1",
        "--epochs", "400", "--limit", "1s", "--quiet", "--out", out,
    )  # fmt: skip
    assert code == 0
    trials = [trial for of_one in results(out)["trials"].values() for trial in of_one]
    assert {trial["status"] for trial in trials} == {"time"}


@pytest.mark.slow
def test_a_job_that_takes_too_much_memory_is_out_and_the_rest_goes_on(
    race: Call, striped: Path, tmp_path: Path
) -> None:
    out = tmp_path / "race"
    code, _, err = race(
        striped, "--vary", "model=resnet-cifar-8,wrn-28-10", "--batch", "16", "--trials", "1",
        "--seeds", "1", "--epochs", "0.2", "--memory", "450M", "--quiet", "--out", out,
    )  # fmt: skip
    assert code == 0, err
    found = results(out)
    assert {t["status"] for t in found["trials"]["wrn-28-10"]} == {"memory"}
    assert {t["status"] for t in found["trials"]["resnet-cifar-8"]} == {"ended"}
    assert any("more than its limit" in line for line in found["out"])


@pytest.mark.slow
def test_the_budget_is_that_of_the_whole_race(race: Call, striped: Path, tmp_path: Path) -> None:
    out = tmp_path / "race"
    code, _, err = race(
        striped, "--vary", "norm=batch,none", *NETWORK, "--trials", "1", "--seeds", "2",
        "--budget", "20s", "--jobs", "2", "--quiet", "--out", out,
    )  # fmt: skip
    assert code == 0, err
    # 20 s on a machine that keeps its speed; one that gets slower closes the race.
    assert results(out)["elapsed"] < 4 * 20
    assert {row["name"] for row in results(out)["table"]} == {"norm=batch", "norm=none"}


@pytest.mark.slow
def test_batch_sizes_race_with_the_noise_of_their_gradients(
    race: Call, striped: Path, tmp_path: Path
) -> None:
    out = tmp_path / "race"
    code, _, err = race(
        striped, "--vary", "batch=16,64", "--model", "resnet-cifar-8", "--convolution", "guess",
        "--trials", "1", "--seeds", "1", "--epochs", "1", "--quiet", "--out", out,
    )  # fmt: skip
    assert code == 0, err
    noise = results(out)["noise"]["ratios"]
    assert noise["batch=16"] == pytest.approx(2 * noise["batch=64"])
    assert "McCandlish" in (out / "report.html").read_text()


@pytest.mark.slow
def test_any_setting_races_and_several_give_every_combination(
    race: Call, striped: Path, tmp_path: Path
) -> None:
    out = tmp_path / "race"
    words = ("--vary", "init=he,lsuv", "--vary", "dropout=0,0.3", "--model", "wrn-10-1")
    rules = ("--trials", "1", "--seeds", "1", "--epochs", "0.5", "--batch", "16", "--quiet")
    code, _, err = race(striped, *words, *rules, "--convolution", "guess", "--out", out)
    assert (code, err) == (0, "")
    files = (out / "runs").glob("*-seed-1/recipe.toml")
    settings = [read_recipe(file)[0] for file in files]
    assert sorted((one["init"], one["dropout"]) for one in settings) == [
        ("he", [0.0]),
        ("he", [0.3]),
        ("lsuv", [0.0]),
        ("lsuv", [0.3]),
    ]
    assert len(set(weights(out).values())) == len(weights(out)) == 8
    assert {row["name"] for row in results(out)["table"]} == {
        "init=he dropout=0",
        "init=he dropout=0.3",
        "init=lsuv dropout=0",
        "init=lsuv dropout=0.3",
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--optimizers", "momentum,adm"), "adm"),
        (("--optimizers", "adam"), "2 candidates"),
        (("--vary", "initial=he,xavier"), "initial"),
        (("--vary", "seed=1,2"), "--seeds"),
        (("--optimizers", "momentum,adam", "--ray", "127.0.0.1:1"), "ray"),
        (("--optimizers", "momentum,adam", "--memory", "lots"), "lots"),
    ],
)
def test_mistakes_are_one_line(
    race: Call, striped: Path, tmp_path: Path, arguments: tuple[str, ...], named: str
) -> None:
    code, _, err = race(striped, *arguments, *NETWORK, *RULES, "--out", tmp_path / "race")
    assert code == 2
    assert named.lower() in err.lower()
    assert len(err.strip().splitlines()) == 1


def test_settings_of_a_race_are_checked() -> None:
    two = {"a": {"lr": 1.0}, "b": {"lr": 2.0}}
    with pytest.raises(SettingError, match="exclude"):
        RaceSettings.of({"candidates": two, "epochs": 1.0, "budget": 60.0})
    with pytest.raises(SettingError, match="needs --budget"):
        RaceSettings.of({"candidates": two, "equal": "seconds"})
    assert bytes_of("1.5G") == 3 * 2**29

"""Runs with a measured kernel plan: in the run folder, replayed on resume, refused by verify."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import ravine
from ravine.core.errors import RunError
from ravine.core.events import Event, Notice, StepDone
from ravine.kernels.library import load_library
from ravine.ops.kernel_plan import KernelPlan
from ravine.runs.folder import RunFolder
from ravine.runs.kernel_plan_file import plan_from_values, read_kernel_plan, write_kernel_plan
from ravine.runs.rows import read_json
from ravine.workflows.kernel_choice import cached_plan_path

pytestmark = pytest.mark.usefixtures("tiles", "processor_time")

SETTINGS = {
    "model": "resnet-cifar-8", "batch": 16, "epochs": 0.5, "device": "cpu", "threads": 1,
    "precision": "bfloat16", "checkpoint_every": 0.0,
}  # fmt: skip


class Stop(Exception):
    pass


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    chance = np.random.default_rng(0)
    labels = np.arange(240) % 2
    images = chance.integers(0, 200, (240, 8, 8, 1), dtype=np.uint8)
    images[labels == 0, ::2] += 40
    images[labels == 1, :, ::2] += 40
    path = tmp_path / "stripes.npz"
    np.savez(path, images=images, labels=labels)
    return path


@contextmanager
def held_down(level: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs the library's code of a level, as on a machine that has no more."""
    with monkeypatch.context() as patch:
        patch.setenv("RAVINE_KERNELS", level)
        load_library.cache_clear()
        yield
    load_library.cache_clear()


def plan_of(run: Path) -> KernelPlan:
    plan = read_kernel_plan(RunFolder(run).kernel_plan)
    assert plan is not None
    return plan


def stop_at(step: int) -> Callable[[Event], None]:
    def observe(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            raise Stop

    return observe


def notices_of(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice)]


def stopped(stripes: Path, out: Path) -> Path:
    with pytest.raises(Stop):
        ravine.train(stripes, out=out, observers=[stop_at(3)], **SETTINGS)
    return out


def other_algorithm(plan: KernelPlan) -> KernelPlan:
    """Returns the plan in which the losers of the measurement run."""
    values = [
        {
            "shape": {name: getattr(e.shape, name) for name in e.shape.__dataclass_fields__},
            "algorithm": next((n for n in e.seconds if n != e.algorithm), e.algorithm),
            "images": e.images,
            "seconds": dict(e.seconds),
        }
        for e in plan.entries
    ]
    machine = {n: getattr(plan.machine, n) for n in plan.machine.__dataclass_fields__}
    return plan_from_values({"machine": machine, "precision": "bfloat16", "entries": values})


def test_a_resumed_run_replays_its_plan_whatever_the_cache_says(
    stripes: Path, tmp_path: Path
) -> None:
    whole = ravine.train(stripes, out=tmp_path / "whole", **SETTINGS)
    part = stopped(stripes, tmp_path / "part")
    plan = plan_of(part)
    assert plan == plan_of(whole.path)
    assert any(entry.seconds for entry in plan.entries)
    cache = cached_plan_path(plan.machine, "bfloat16")
    assert read_kernel_plan(cache) == plan
    write_kernel_plan(cache, other_algorithm(plan))
    events: list[Event] = []
    resumed = ravine.resume(part, observers=[events.append])

    assert plan_of(part) == plan
    assert not any("measured" in text and "shapes" in text for text in notices_of(events))
    weights = (resumed.path / "model.safetensors").read_bytes()
    assert weights == (whole.path / "model.safetensors").read_bytes()


def test_the_plan_decides_the_bits_and_verify_replays_it(stripes: Path, tmp_path: Path) -> None:
    whole = ravine.train(stripes, out=tmp_path / "whole", **SETTINGS)
    other = other_algorithm(plan_of(whole.path))
    changed = ravine.train(stripes, out=tmp_path / "changed", kernels=other, **SETTINGS)

    assert plan_of(changed.path) == other
    weights = (changed.path / "model.safetensors").read_bytes()
    assert weights != (whole.path / "model.safetensors").read_bytes()
    assert ravine.verify(changed.path, from_start=True).same
    repeated = ravine.train(recipe=changed.path / "recipe.toml", out=tmp_path / "repeated")
    assert weights == (repeated.path / "model.safetensors").read_bytes()
    own = ravine.train(recipe=changed.path / "recipe.toml", seed=1, out=tmp_path / "own")
    assert plan_of(own.path) == plan_of(whole.path)


def test_a_plan_that_cannot_run_here_is_told_and_made_anew(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = stopped(stripes, tmp_path / "part")
    events: list[Event] = []
    with held_down("avx512", monkeypatch):
        ravine.resume(part, observers=[events.append])
        texts = [e.text for e in events if isinstance(e, Notice) and e.warning]

    warnings = [text for text in texts if "kernel_plan.json" in text]
    assert len(warnings) == 1
    assert (
        "cannot run here (16→16, 8×8, kernel 3, stride 1, bfloat16; made with the level amx"
        in (warnings[0])
    )
    assert ", here avx512): decided anew; the weights are no longer bitwise" in warnings[0]
    assert {"tiles", "tiles-weights"}.isdisjoint(plan_of(part).algorithms.values())


def test_verify_refuses_a_plan_that_cannot_run_here(
    stripes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ravine.train(stripes, out=tmp_path / "run", **SETTINGS)
    with held_down("avx512", monkeypatch), pytest.raises(RunError, match="verify it on a machine"):
        ravine.verify(run.path)


def test_a_torn_plan_is_told_and_a_run_of_before_goes_by_the_best_guesses(
    stripes: Path, tmp_path: Path
) -> None:
    torn, before = stopped(stripes, tmp_path / "torn"), stopped(stripes, tmp_path / "before")
    plan = plan_of(torn)
    (torn / "kernel_plan.json").write_text("{")
    (before / "kernel_plan.json").unlink()
    events: list[Event] = []
    ravine.resume(torn, observers=[events.append])
    assert any("holds no kernel plan" in text for text in notices_of(events))
    assert plan_of(torn) == plan  # from the cache

    events.clear()
    ravine.resume(before, observers=[events.append])
    assert not any("kernel plan" in text or "shapes" in text for text in notices_of(events))


@pytest.mark.slow
def test_a_race_measures_once_for_all_its_trials(stripes: Path, tmp_path: Path) -> None:
    texts: list[str] = []

    def watch(event: object) -> None:
        if isinstance(event, Notice):
            texts.append(event.text)
            if event.text.startswith("2 candidates"):  # before the first job: nothing to read back
                next((tmp_path / "cache").glob("kernel-plan-*")).unlink()

    given = {k: v for k, v in SETTINGS.items() if k not in ("epochs", "threads")}
    found = ravine.race(
        stripes, optimizers=["momentum", "adam"], out=tmp_path / "race", jobs=1, watch=watch,
        rules={"trials": 1, "seeds": 1, "epochs": 0.1}, **given,
    )  # fmt: skip
    plan = plan_from_values(read_json(found.path / "plan.json")["kernels"])
    runs = sorted((found.path / "runs").iterdir())

    assert sum("shapes, measured in" in text for text in texts) == 1
    assert len(runs) == 4
    # The measured seconds, bit for bit: no job has measured for itself.
    assert any(entry.seconds for entry in plan.entries)
    assert all(plan_of(run) == plan for run in runs)

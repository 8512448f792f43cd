"""The kernel plan of a run: measured once, kept, read back, measured again where it must be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ravine.core.events import Event, Notice
from ravine.kernels.library import load_library
from ravine.ops.algorithm import ConvolutionShape
from ravine.ops.kernel_plan import KernelPlan, MachineKind
from ravine.runs.kernel_plan_file import read_kernel_plan, write_kernel_plan
from ravine.workflows.kernel_choice import PlanRequest, cached_plan_path, decide_kernels
from ravine.workflows.session import Session

pytestmark = pytest.mark.usefixtures("tiles", "processor_time")

FIRST = ConvolutionShape(16, 32, 8, 8, 3, 1, 1, "bfloat16")
SECOND = replace(FIRST, stride=2)
STEM = replace(FIRST, channels=3)
REQUEST = PlanRequest(shapes=(STEM, FIRST), precision="bfloat16", batch=2)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def decide(request: PlanRequest = REQUEST) -> tuple[KernelPlan, list[Notice]]:
    notices: list[Notice] = []

    def observe(event: Event) -> None:
        assert isinstance(event, Notice)
        notices.append(event)

    return decide_kernels(request, Session(observers=[observe])), notices


def cached() -> Path:
    return cached_plan_path(MachineKind.here(), "bfloat16")


def test_what_was_measured_once_is_read_back() -> None:
    plan, notices = decide()
    again, silent = decide()

    assert [entry.shape for entry in plan.entries] == [STEM, FIRST]
    assert len(notices) == 1
    assert " of 1 shapes, measured in " in notices[0].text
    assert again == plan
    assert silent == []
    assert cached().is_file()


def test_what_was_measured_for_batches_of_a_size_is_known_for_those_only() -> None:
    small, _ = decide()
    large, notices = decide(replace(REQUEST, batch=64))
    alike, silent = decide(replace(REQUEST, batch=100, budget=30.0))
    still, silent_too = decide()

    assert [entry.batch for entry in small.entries] == [0, 2]
    assert [entry.batch for entry in large.entries] == [0, 64]
    assert " of 1 shapes" in notices[0].text
    assert (alike, silent) == (large, [])
    assert (still, silent_too) == (small, [])


@pytest.mark.slow
def test_a_batch_beyond_what_is_measured_does_not_matter() -> None:
    heavy = replace(FIRST, channels=256, out_channels=256, height=32, width=32)
    request = replace(REQUEST, shapes=(heavy,))
    plan, _ = decide(replace(request, batch=32))
    again, notices = decide(replace(request, batch=512))

    assert (again, notices) == (plan, [])


def test_only_new_shapes_are_measured_and_the_known_ones_stay() -> None:
    plan, _ = decide()
    both, notices = decide(replace(REQUEST, shapes=(SECOND, FIRST)))
    whole = read_kernel_plan(cached())

    assert both.entries[1] == plan.entries[1]
    assert " of 1 shapes" in notices[0].text
    assert whole is not None
    assert {entry.shape for entry in whole.entries} == {STEM, FIRST, SECOND}


def test_a_shape_that_time_did_not_allow_is_measured_by_the_next_run() -> None:
    both = replace(REQUEST, shapes=(SECOND, FIRST))
    hurried, _ = decide(replace(both, budget=1e-6))
    assert sum(bool(entry.seconds) for entry in hurried.entries) == 1
    plan, notices = decide(both)

    assert all(entry.seconds for entry in plan.entries)
    assert " of 1 shapes" in notices[0].text


def test_a_torn_file_is_measured_again_with_one_line() -> None:
    decide()
    cached().write_bytes(cached().read_bytes()[:99])
    plan, notices = decide()

    warnings = [notice.text for notice in notices if notice.warning]
    assert len(warnings) == 1
    assert "holds no kernel plan" in warnings[0]
    assert warnings[0].endswith("; convolutions are measured again")
    assert read_kernel_plan(cached()) == plan


def test_a_file_of_another_machine_is_measured_again_with_one_line() -> None:
    plan, _ = decide()
    other = replace(plan.machine, processor="Another 9000")
    write_kernel_plan(cached(), replace(plan, machine=other))
    _, notices = decide()
    whole = read_kernel_plan(cached())

    warnings = [notice.text for notice in notices if notice.warning]
    assert len(warnings) == 1
    assert "is of another machine (Another 9000); " in warnings[0]
    assert whole is not None
    assert whole.machine == plan.machine


def test_other_threads_versions_and_levels_have_files_of_their_own() -> None:
    here = MachineKind.here()
    others = [
        replace(here, threads=here.threads + 1), replace(here, torch="9"), replace(here, library=0),
        replace(here, level="base"), replace(here, l2_bytes=1), replace(here, processor="x"),
    ]  # fmt: skip
    paths = {cached_plan_path(one, "bfloat16") for one in (here, *others)}

    assert len(paths | {cached_plan_path(here, "float32")}) == len(others) + 2


def test_a_cache_that_cannot_be_written_is_told_and_the_plan_is_made(own_cache: Path) -> None:
    own_cache.write_text("a file where the folder should be")
    plan, notices = decide()

    warnings = [notice.text for notice in notices if notice.warning]
    assert len(warnings) == 1
    assert warnings[0].startswith("the kernel plan is not kept for other runs: ")
    assert plan.algorithms[FIRST] in ("tiles", "tiles-weights")


def test_a_compiled_network_takes_the_best_guesses() -> None:
    plan, notices = decide(replace(REQUEST, measures=False))

    assert plan.algorithms == {STEM: "torch", FIRST: "tiles"}
    assert all(not entry.seconds for entry in plan.entries)
    assert notices == []
    assert not cached().exists()


@pytest.mark.parametrize(("budget", "limit"), [(None, 10.0), (40.0, 2.0), (3600.0, 10.0)])
def test_measuring_takes_a_twentieth_of_the_budget(budget: float | None, limit: float) -> None:
    assert replace(REQUEST, budget=budget).limit == pytest.approx(limit)


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("RAVINE_KERNELS", "off")
    load_library.cache_clear()
    yield
    monkeypatch.undo()
    load_library.cache_clear()


@pytest.mark.usefixtures("no_library")
def test_without_a_choice_nothing_is_measured_or_kept(own_cache: Path) -> None:
    plan, notices = decide()

    assert set(plan.algorithms.values()) == {"torch"}
    assert notices == []
    assert not own_cache.exists()

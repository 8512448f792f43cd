"""What holds for all tests."""

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, settings

from ravine.kernels.library import LEVELS, load_library
from ravine.reports import curve_figures, page
from ravine.workflows.race_worker.fork_client import ForkClient

from .fork_servers import FIGURES, ForkServers

# A test may be slow on a busy machine without being wrong, and has the same examples each time:
# --hypothesis-profile=default draws others.
settings.register_profile(
    "ravine",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("ravine")

_DRAWINGS = page._drawings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with a test marked `longest` first: at the end, the other workers would wait."""
    first = {item.path for item in items if item.get_closest_marker("longest")}
    items.sort(key=lambda item: item.path not in first)


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps decoded images apart from other modules', and gives processes one thread each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def tiles() -> Iterator[None]:
    """Runs a module's tests with the code for AMX: natively, or emulated in AVX-512.

    They are skipped where the processor has neither, or the library was not built.
    """
    library = load_library()
    if library is not None and library.has_tiles:
        yield
        return
    if library is None or library.level < LEVELS.index("avx512"):
        pytest.skip("no AMX here, and no AVX-512 to emulate it in")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAVINE_KERNELS", "amx-emulated")
        load_library.cache_clear()
        try:
            yield
        finally:
            load_library.cache_clear()


@contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _files_without_disk() -> Iterator[None]:
    """Leaves files to the system's memory: a power cut is not tested, and disks are slow.

    What is synced, and when: `tests/core/test_parts_of_killed_writers.py`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def processor_time() -> Iterator[None]:
    """Measures convolutions in processor time: a busy machine has time for as many shapes."""
    clock = SimpleNamespace(perf_counter=time.process_time)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ravine.nn.measured_plan.time", clock)
        yield


@pytest.fixture(scope="session")
def torch_threads() -> Callable[[int], AbstractContextManager[None]]:
    """Returns a context manager: inside it torch, and with it the library, has so many threads."""
    return _torch_threads


@pytest.fixture(scope="session", autouse=True)
def _reports_without_figures() -> Iterator[pytest.MonkeyPatch]:
    """Leaves the figures out of the reports of runs: they take longer than a small run.

    A test of a page asks for the fixture `figures`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ravine.reports.page._drawings", lambda _: dict.fromkeys(FIGURES))
        patch.setattr("ravine.reports.evaluation_page.reliability", lambda _: "")
        yield patch


@pytest.fixture(scope="session")
def fork_servers() -> Iterator[ForkServers]:
    """Gives the process that has everything imported."""
    servers = ForkServers()
    yield servers
    servers.close()


@pytest.fixture(scope="module")
def forked_jobs(fork_servers: ForkServers) -> Iterator[None]:
    """Lets the jobs of a module's races be forked; those of others start as users' do."""
    with pytest.MonkeyPatch.context() as patch:
        forked = partial(ForkClient, spawn=fork_servers.spawn)
        patch.setattr("ravine.workflows.race_worker.local_jobs.ForkClient", forked)
        yield


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws the figures of reports, as users have them."""
    monkeypatch.setattr("ravine.reports.page._drawings", _DRAWINGS)
    monkeypatch.setattr("ravine.reports.evaluation_page.reliability", curve_figures.reliability)


@pytest.fixture
def least_seconds() -> Callable[[Callable[[], object]], float]:
    """Returns the least processor time of five calls, in seconds, without the collector.

    For what must not grow with the square of its input: a collection that falls into one call
    walks over all that the other tests left behind.
    """

    def least(call: Callable[[], object]) -> float:
        times = []
        gc.disable()
        try:
            for _ in range(5):
                started = time.process_time()
                call()
                times.append(time.process_time() - started)
        finally:
            gc.enable()
        return min(times)

    return least

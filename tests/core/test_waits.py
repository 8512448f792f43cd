"""A process that waits long for the others says so, and one that does not says nothing."""

from types import SimpleNamespace

import pytest

from ravine.core import waits
from ravine.core.waits import Waits


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(waits, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_wait_is_named_after_a_minute_and_then_every_five(now: list[float]) -> None:
    own = Waits()
    said = []

    with own.open():
        for second in range(800):
            now[0] = 100.0 + second
            if line := own.line(rank=1, size=3):
                said.append((second, line))

    assert [second for second, _ in said] == [60, 360, 660]
    assert said[0][1].startswith("rank 1 of 3 has waited 60 s for the other processes; if one of")


def test_short_waits_add_up_to_nothing(now: list[float]) -> None:
    own = Waits()

    for _ in range(10):
        with own.open():
            now[0] += 50.0
            assert own.line(rank=0, size=2) is None
    now[0] += 1000.0

    assert own.line(rank=0, size=2) is None


def test_a_wait_that_fails_is_over(now: list[float]) -> None:
    own = Waits()

    with pytest.raises(RuntimeError), own.open():
        raise RuntimeError("connection reset by peer")
    now[0] += 1000.0

    assert own.line(rank=0, size=2) is None

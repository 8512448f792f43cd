"""Weights along the way: those of a run that was stopped are those of one that was not."""

from pathlib import Path

import pytest

import ravine
from ravine.core.events import CheckpointSaved, Event, StepDone

_SMALL = {"model": "wrn-10-1", "batch": 16, "device": "cpu", "epochs": 1.5, "keep_weights": 6}
_SMALL |= {"convolution": "guess"}  # measured plans may differ


class Stop(Exception):
    pass


def _stop(kind: type[Event], step: int):  # type: ignore[no-untyped-def]
    def observe(event: Event) -> None:
        if isinstance(event, kind) and event.step == step:  # type: ignore[attr-defined]
            raise Stop

    return observe


def _weights(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "weights").iterdir())}


@pytest.mark.parametrize("every", [0.0, 1000.0], ids=["each step", "seldom"])
def test_an_interrupted_run_keeps_the_same_weights(
    stripes: Path, tmp_path: Path, every: float
) -> None:
    """Stopped at, before and after a waypoint, once as soon as the checkpoint there is saved."""
    whole = ravine.train(stripes, out=tmp_path / "whole", checkpoint_every=every, **_SMALL)
    expected = _weights(whole.path)
    steps = [int(name[5:13]) for name in expected]
    assert steps[0] == 0
    assert len(steps) == 6

    out = tmp_path / "stopped"
    stops = [_stop(StepDone, steps[k] + by) for k, by in ((1, -1), (2, 0), (3, 1))]
    with pytest.raises(Stop):
        ravine.train(stripes, out=out, observers=[stops[0]], checkpoint_every=every, **_SMALL)
    assert len(_weights(out)) == 1
    others = [*stops[1:], _stop(CheckpointSaved, steps[4])] if every == 0 else stops[1:]
    for stop in others:
        with pytest.raises(Stop):
            ravine.resume(out, observers=[stop])
    ravine.resume(out)

    assert _weights(out) == expected

"""Messages between the processes of a race: bit for bit what was sent, or refused."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ravine.core.errors import RunError
from ravine.runs.rows import write_json
from ravine.tournament.job_graph import Job, Outcome
from ravine.workflows.race_worker.messages import (
    ForkRequest,
    JobEnded,
    JobStarted,
    MeasureTask,
    RemoteRequest,
    TrainTask,
    fork_event_from_json,
    read_outcome,
    read_timing,
)
from ravine.workflows.race_worker.timing import Timing

plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
settings = st.dictionaries(st.text(min_size=1), plain | st.lists(plain, max_size=3), max_size=5)


def request_of(task: TrainTask | MeasureTask) -> ForkRequest:
    return ForkRequest(
        task=task,
        runs=Path("race/runs"),
        result=Path("race/outcomes/x.json"),
        progress=Path("race/outcomes/x.progress"),
        log=Path("race/outcomes/x.log"),
        environment={"CUDA_VISIBLE_DEVICES": "1"},
        allow_code=("mynets:small",),
    )


@given(st.text(min_size=1), st.floats(0, 1, exclude_min=True), settings)
def test_a_request_arrives_bit_for_bit(run: str, share: float, values: dict[str, Any]) -> None:
    job = Job(run=run, share=share, settings=values)
    request = request_of(TrainTask.of(job))
    line = request.to_json()
    received = ForkRequest.from_json(line)

    assert "\n" not in line
    assert received == request
    assert isinstance(received.task, TrainTask)
    assert received.task.job == job
    # repr tells 1 from 1.0 and True, and -0.0 from 0.0, which == does not.
    assert repr(received.task.job.settings) == repr(values)


def test_numbers_that_are_not_finite_arrive_too() -> None:
    task = MeasureTask(key="m", settings={"a": math.inf, "b": math.nan}, with_steps=True)
    received = RemoteRequest.from_json(
        RemoteRequest(task=task, threads=1, memory=0, limit=0.0, allow_code=()).to_json()
    )

    assert received.task.settings["a"] == math.inf
    assert math.isnan(received.task.settings["b"])


@pytest.mark.parametrize("event", [JobStarted(key="a@1", pid=7), JobEnded(key="a@1", exit_code=-9)])
def test_an_event_arrives_as_its_own_type(event: JobStarted | JobEnded) -> None:
    assert fork_event_from_json(event.to_json().encode()) == event


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"share": 1.5}, "share"),
        ({"share": "1"}, "share"),
        ({"kind": "other"}, "kind"),
        ({"seeds": 3}, "seeds"),
        ({"run": None}, "run"),
    ],
)
def test_a_request_with_a_wrong_field_is_refused(change: dict[str, Any], named: str) -> None:
    values = json.loads(request_of(TrainTask(run="r", share=0.5, settings={})).to_json())
    values["task"] |= change
    with pytest.raises(ValidationError, match=named):
        ForkRequest.from_json(json.dumps(values))


def test_a_torn_event_is_refused() -> None:
    with pytest.raises(ValidationError):
        fork_event_from_json(b'{"kind": "started", "key": "a@1"')


def test_an_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    outcome = Outcome(status="ended", step=3, total_steps=3, loss=0.1 + 0.2, accuracy=1 / 3)
    write_json(tmp_path / "a@1.json", asdict(outcome))

    assert read_outcome(tmp_path / "a@1.json") == outcome


@pytest.mark.parametrize(
    ("change", "named"),
    [({"status": "done"}, "status"), ({"step": "3"}, "step"), ({"steps": 3}, "unknown: steps")],
)
def test_a_file_without_an_outcome_is_named_with_its_remedy(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    path = tmp_path / "a@1.json"
    write_json(path, asdict(Outcome(status="ended")) | change)

    with pytest.raises(RunError, match=f"no outcome of a job; delete it.*{named}") as caught:
        read_outcome(path)
    assert str(path) in str(caught.value)


def test_durations_are_read_as_they_were_measured(tmp_path: Path) -> None:
    timing = Timing(epoch=1 / 3, around=0.1, steps_per_epoch=17, normalised=True)
    write_json(tmp_path / "measure-0.json", asdict(timing))

    assert read_timing(tmp_path / "measure-0.json") == timing
    write_json(tmp_path / "measure-0.json", {"epoch": 1.0})
    with pytest.raises(RunError, match="no measured durations"):
        read_timing(tmp_path / "measure-0.json")

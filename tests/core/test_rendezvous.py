"""torchrun's variables are taken whole or refused, and missing peers are named."""

import socket
from types import SimpleNamespace

import pytest

from ravine.core import rendezvous
from ravine.core.errors import RunError, SettingError
from ravine.core.launch import TorchrunVariables
from ravine.core.rendezvous import meet

GOOD = {
    "RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500",
}  # fmt: skip


def test_whole_variables_are_those_of_a_process_among_several() -> None:
    found = TorchrunVariables.of(GOOD)

    assert found == TorchrunVariables(
        rank=1, size=2, local_rank=1, local_size=2, address="127.0.0.1", port=29500
    )


@pytest.mark.parametrize(
    "environment",
    [{}, {"RANK": "3"}, {"MASTER_ADDR": "x"}, {"WORLD_SIZE": "1"}, {**GOOD, "WORLD_SIZE": "1"}],
)
def test_without_a_group_a_process_is_alone(environment: dict[str, str]) -> None:
    assert TorchrunVariables.of(environment) is None


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"RANK": "2"}, r"RANK must be in 0\.\.1, got 2"),
        ({"RANK": "-1"}, r"RANK must be in 0\.\.1, got -1"),
        ({"RANK": "x"}, "RANK must be a whole number, got 'x'"),
        ({"RANK": "٣"}, "RANK must be a whole number"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE must be in"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE must be a whole number"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE must be in"),
        ({"LOCAL_RANK": "2"}, "LOCAL_RANK must be in"),
        ({"LOCAL_WORLD_SIZE": "3"}, "LOCAL_WORLD_SIZE must be in"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT must be in"),
        ({"MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE is not set"),
        ({"MASTER_ADDR": " "}, "MASTER_ADDR is not set"),
    ],
)
def test_impossible_or_missing_ones_are_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        TorchrunVariables.of({**GOOD, **changed})


def _variables(rank: int, size: int) -> TorchrunVariables:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return TorchrunVariables(
        rank=rank, size=size, local_rank=0, local_size=1, address="127.0.0.1", port=port
    )


@pytest.mark.parametrize(("rank", "missing"), [(0, "ranks 1, 2"), (1, "rank 0")])
def test_a_rank_that_waits_names_those_that_are_missing(
    rank: int, missing: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(rendezvous, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(rendezvous, "_GIVES_UP_AFTER", 60.0)

    with pytest.raises(RunError, match=f"waited 60 s for {missing} at .* gives up"):
        meet(_variables(rank, 3))

    assert f"ravine: rank {rank} of 3 has waited 10 s for {missing}" in capsys.readouterr().err

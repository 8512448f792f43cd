"""Kernel plans as files: the same plan comes back, and nothing else is taken for one."""

import json
import threading
from pathlib import Path

import pytest

from ravine.core.errors import RunError
from ravine.ops.algorithm import ConvolutionShape
from ravine.ops.kernel_plan import KernelPlan, MachineKind, PlanEntry
from ravine.runs.kernel_plan_file import (
    plan_from_values,
    plan_to_values,
    read_kernel_plan,
    write_kernel_plan,
)

SHAPE = ConvolutionShape(32, 64, 14, 14, 3, 1, 1, "bfloat16")
MACHINE = MachineKind(
    processor="A “fast” one", level="amx", library=6, torch="2.13", threads=2, l2_bytes=2**21
)


def plan(seconds: float = 0.1) -> KernelPlan:
    entry = PlanEntry(
        shape=SHAPE, algorithm="tiles", images=8, seconds={"tiles": seconds, "torch": 0.3}
    )
    return KernelPlan(machine=MACHINE, precision="bfloat16", entries=(entry,))


def test_a_plan_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "kernel_plan.json"
    write_kernel_plan(path, plan(1 / 3))

    assert read_kernel_plan(path) == plan(1 / 3)
    assert plan_from_values(json.loads(json.dumps(plan_to_values(plan(1 / 3))))) == plan(1 / 3)
    assert read_kernel_plan(tmp_path / "none.json") is None


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"tiles",', '"fastest",', "entries.0.algorithm"),
        ('"stride": 1', '"stride": "1"', "entries.0.shape.stride"),
        ('"threads": 2', '"threads": null', "machine.threads"),
        ('"precision": "bfloat16"', '"precision": "float8"', "precision"),
        ('"entries"', '"rows"', "entries"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_by_name(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    path = tmp_path / "kernel_plan.json"
    write_kernel_plan(path, plan())
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))

    with pytest.raises(RunError, match=rf"kernel_plan.json holds no kernel plan \({named}: "):
        read_kernel_plan(path)


@pytest.mark.parametrize("kept", [0, 1, 100])
def test_a_torn_file_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "kernel_plan.json"
    write_kernel_plan(path, plan())
    path.write_bytes(path.read_bytes()[:kept])

    with pytest.raises(RunError, match="holds no kernel plan"):
        read_kernel_plan(path)


def test_a_reader_beside_two_writers_always_finds_a_whole_plan(tmp_path: Path) -> None:
    path = tmp_path / "kernel_plan.json"
    plans = [plan(0.1), plan(0.2)]
    write_kernel_plan(path, plans[0])

    def write(one: KernelPlan) -> None:
        for _ in range(20):
            write_kernel_plan(path, one)

    writers = [threading.Thread(target=write, args=(one,)) for one in plans]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert read_kernel_plan(path) in plans
    for writer in writers:
        writer.join()
    assert [one.name for one in tmp_path.iterdir()] == ["kernel_plan.json"]

"""`ravine bench`: the user's own proof, and mistakes in one line."""

import json

import pytest

from ravine.training.interleaved import RoundTimes

SMALL = ("wrn-10-1", "--size", "8", "--batch", "4", "--seconds", "0.05", "--threads", "1")


@pytest.mark.usefixtures("tiles")
def test_bench_prints_machine_plan_and_the_ratios_of_three_loops(ravine) -> None:  # type: ignore[no-untyped-def]
    said = ravine("bench", *SMALL, "--no-limits", "--precision", "bfloat16")

    assert said.code == 0
    assert ": level amx" in said.out.splitlines()[0]
    assert "threads 1, torch 2." in said.out
    assert "kernel plan: milliseconds of forward and gradients" in said.out
    assert "16→32" in said.out
    assert "plain: float32, eager, contiguous" in said.out
    assert "Ravine, whole loop" in said.out
    last = said.out.splitlines()[-1]
    assert last.startswith("Ravine trains wrn-10-1 ")
    assert last.endswith(" times as fast as the best flags (eager)")


@pytest.mark.usefixtures("tiles")
def test_bench_as_json_is_a_row_for_machine_each_convolution_and_speed(ravine) -> None:  # type: ignore[no-untyped-def]
    first = ravine("bench", *SMALL, "--no-limits", "--precision", "bfloat16", "--json")
    again = ravine("bench", *SMALL, "--no-limits", "--precision", "bfloat16", "--json")
    fresh = ravine("bench", *SMALL, "--no-limits", "--precision", "bfloat16", "--json", "--fresh")
    rows, same, anew = (
        [json.loads(line) for line in said.out.splitlines()] for said in (first, again, fresh)
    )

    machine, *shapes, speed = rows
    assert machine["kind"] == "machine"
    assert machine["threads"] == 1
    assert {row["kind"] for row in shapes} == {"convolution"}
    measured = [row for row in shapes if row["seconds"]]
    assert measured
    assert all(row["algorithm"] in row["seconds"] for row in measured)
    assert set(speed["images_per_s"]) == {"plain", "flags", "ravine"}
    assert speed["best_flags"] == "flags"
    assert speed["batch"] == 4
    # The plan that runs use: kept, and measured anew on demand only.
    assert same[1:-1] == shapes
    assert anew[1:-1] != shapes


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("nope",), "unknown model 'nope'."),
        (("auto",), "network auto is chosen for data; name one"),
        (("wrn-10-1", "--batch", "0"), "batch must be in [2, 65536], got 0"),
        (("wrn-10-1", "--size", "4"), "size must be in [8, 4096], got 4"),
        (("wrn-10-1", "--channels", "2"), "channels must be 1 (grey) or 3 (colour), got 2"),
        (("wrn-10-1", "--seconds", "0"), "seconds must be in (0, 86400], got 0"),
        (("wrn-10-1", "--precision", "half"), "precision: input should be"),
        (("wrn-10-1", "--threads", "-1"), "threads: input should be greater than or equal to 0"),
        (("alexnet", "--size", "8"), "alexnet needs images of at least 15×15, got 8"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_two(  # type: ignore[no-untyped-def]
    ravine, arguments: tuple[str, ...], line: str
) -> None:
    said = ravine("bench", "--no-limits", *arguments)

    assert (said.code, said.out) == (2, "")
    assert said.err.startswith(f"ravine: {line}")
    assert said.err.count("\n") == 1


def test_a_ratio_is_the_median_over_rounds() -> None:
    times = RoundTimes({"ravine": (1.0, 1.0, 4.0), "plain": (2.0, 3.0, 4.0)})

    assert times.ratio("ravine", "plain") == 2.0
    assert times.images_per_second(6) == {"ravine": 6.0, "plain": 2.0}

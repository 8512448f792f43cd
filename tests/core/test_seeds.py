import torch
from hypothesis import given
from hypothesis import strategies as st

from ravine.core.seeds import generator_for, seed_for


@given(st.integers(0, 2**40), st.integers(0, 2**20), st.integers(0, 2**20))
def test_streams_of_two_indices_differ_and_each_repeats(seed: int, a: int, b: int) -> None:
    one, other = (seed_for("order", seed=seed, index=i) for i in (a, b))
    assert (one == other) == (a == b)
    assert 0 <= one < 2**63


def test_a_new_purpose_does_not_shift_an_old_one() -> None:
    first = torch.rand(4, generator=generator_for("order", seed=3))
    torch.rand(9, generator=generator_for("something new", seed=3))
    again = torch.rand(4, generator=generator_for("order", seed=3))
    assert torch.equal(first, again)

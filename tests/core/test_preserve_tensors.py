"""Tensors that somebody else's code writes into are put back, and it is said which were."""

import pytest
import torch
from torch import Tensor

from ravine.core.preserve_tensors import preserve_tensors


def test_what_was_written_into_is_put_back_and_named() -> None:
    kept, written = torch.tensor([1.0, float("nan")]), torch.tensor([3, 4])

    with preserve_tensors([kept, written]) as changed:
        written += 1

    assert changed == [False, True]
    assert written.tolist() == [3, 4]


def test_a_number_that_becomes_none_and_code_that_raises_are_put_back() -> None:
    x = torch.tensor([0.0, float("nan")])

    with pytest.raises(ValueError, match="mine"):
        _turn_and_raise(x)

    assert x[0] == 0
    assert bool(x[1].isnan())


def _turn_and_raise(x: Tensor) -> None:
    with preserve_tensors([x]):
        x.copy_(x.flip(0))
        raise ValueError("mine")

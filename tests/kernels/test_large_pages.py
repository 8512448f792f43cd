"""Memory in large pages is memory like any other."""

import gc

import pytest
import torch

from ravine.kernels.large_pages import in_large_pages

_LINE = 64


@pytest.mark.parametrize("size", [1, 4096, 2 << 20, (2 << 20) + 1, 9_000_001])
def test_memory_of_any_size_can_be_written_and_outlives_what_made_it(size: int) -> None:
    one, other = in_large_pages(size), in_large_pages(size)
    one.fill_(7)
    other.fill_(9)
    part = one[-3:]
    del one, other
    gc.collect()
    assert part.tolist() == [7] * min(3, size)


@pytest.mark.parametrize("size", [64, 2 << 20, 5 << 20])
def test_it_begins_at_a_line_of_the_cache(size: int) -> None:
    found = in_large_pages(size)

    assert found.shape == (size,)
    assert found.dtype is torch.uint8
    assert found.data_ptr() % _LINE == 0

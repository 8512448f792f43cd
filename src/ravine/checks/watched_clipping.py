"""Sees what torch's clip_grad_norm_ is given while a step runs, however that imported it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.nn.utils import clip_grad

# What clip_grad_norm_ asks for the norm; another torch may not have it, and nothing is seen.
_INNER = "_get_total_norm"


@contextmanager
def watched_clipping(counts: list[int]) -> Iterator[None]:
    """Appends the number of gradients of each call inside; the function is put back."""
    inner = getattr(clip_grad, _INNER, None)
    if inner is None:
        yield
        return

    def seen(tensors: Any, *args: Any, **kwargs: Any) -> Any:
        held = [tensors] if hasattr(tensors, "grad") else list(tensors)
        counts.append(len(held))
        return inner(held, *args, **kwargs)

    setattr(clip_grad, _INNER, seen)
    try:
        yield
    finally:
        setattr(clip_grad, _INNER, inner)

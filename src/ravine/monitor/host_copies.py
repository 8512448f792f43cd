"""Numbers on their way from the device to the host: one asynchronous copy, read when it is there.

On the CPU they are there at once.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

Taker = Callable[[list[float]], None]


@final
class Copies:
    """Copies of 0-dim and 1-dim tensors that are under way, in the order in which they began."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[Tensor, torch.cuda.Event | None, Taker]] = deque()

    def send(self, tensors: Sequence[Tensor | float], take: Taker) -> None:
        """Copies the numbers to the host and hands them, in a row, to `take` when they are there.

        Args:
            tensors: on one device, numbers of the host among them.
            take: called by a later `collect`.
        """
        device = next((t.device for t in tensors if isinstance(t, Tensor)), torch.device("cpu"))
        given = [torch.as_tensor(t, dtype=torch.float64).detach().reshape(-1) for t in tensors]
        together = torch.cat([t.to(device, non_blocking=True) for t in given])
        if device.type != "cuda":
            self._under_way.append((together.cpu(), None, take))
            return
        host = torch.empty(together.shape, dtype=together.dtype, pin_memory=True)
        host.copy_(together, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._under_way.append((host, event, take))

    def collect(self, *, wait: bool = False) -> None:
        """Hands over what has arrived; with `wait`, everything."""
        while self._under_way:
            host, event, take = self._under_way[0]
            if event is not None and not event.query():
                if not wait:
                    return
                event.synchronize()
            self._under_way.popleft()
            take(host.tolist())


def unfold(tree: dict[str, Any]) -> tuple[list[tuple[tuple[str, ...], Tensor]], dict[str, Any]]:
    """Returns the tensors of nested dictionaries with their paths, and the rest of the tree."""
    found: list[tuple[tuple[str, ...], Tensor]] = []
    rest: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            inner, rest[key] = unfold(value)
            found += [((key, *path), tensor) for path, tensor in inner]
        elif isinstance(value, Tensor):
            found.append(((key,), value))
        else:
            rest[key] = value
    return found, rest


def fold(rest: dict[str, Any], paths: Sequence[tuple[str, ...]], numbers: Sequence[float]) -> None:
    """Puts numbers into the tree that `unfold` took the tensors from."""
    for path, number in zip(paths, numbers, strict=True):
        place = rest
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = number

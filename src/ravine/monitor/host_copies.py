"""Numbers from the device to the host: one asynchronous copy, read when it has arrived.

On the CPU it has arrived at once.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor

from ravine.core.snapshot import Snapshot, map_numbers

OnArrival = Callable[[list[float]], None]


@final
class HostCopies:
    """Copies of 0-dim and 1-dim tensors that have not been read yet, oldest first."""

    def __init__(self) -> None:
        self._under_way: deque[tuple[Tensor, torch.cuda.Event | None, OnArrival]] = deque()

    def send(self, tensors: Sequence[Tensor | float], on_arrival: OnArrival) -> None:
        """Copies numbers to the host.

        Args:
            tensors: on one device, 0-dim or 1-dim; numbers of the host may be among them.
            on_arrival: called by a later `collect` with all numbers in their order.
        """
        device = next((t.device for t in tensors if isinstance(t, Tensor)), torch.device("cpu"))
        flat = [torch.as_tensor(t, dtype=torch.float64).detach().reshape(-1) for t in tensors]
        joined = torch.cat([t.to(device, non_blocking=True) for t in flat])
        if device.type != "cuda":
            self._under_way.append((joined.cpu(), None, on_arrival))
            return
        host = torch.empty(joined.shape, dtype=joined.dtype, pin_memory=True)
        host.copy_(joined, non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._under_way.append((host, event, on_arrival))

    def send_snapshot(
        self, snapshot: Snapshot[Tensor | float], on_arrival: Callable[[Snapshot[float]], None]
    ) -> None:
        """Copies the tensors of a snapshot to the host.

        Args:
            snapshot: its numbers are 0-dim tensors, or floats of the host.
            on_arrival: called by a later `collect` with the snapshot on the host.
        """
        numbers: list[Any] = []
        map_numbers(snapshot, numbers.append)

        def arrive(arrived: list[float]) -> None:
            values = iter(arrived)
            on_arrival(
                map_numbers(snapshot, lambda n: next(values) if isinstance(n, Tensor) else n)
            )

        self.send([number for number in numbers if isinstance(number, Tensor)], arrive)

    def collect(self, *, wait: bool = False) -> None:
        """Hands over what has arrived; with `wait`, everything."""
        while self._under_way:
            host, event, on_arrival = self._under_way[0]
            if event is not None and not event.query():
                if not wait:
                    return
                event.synchronize()
            self._under_way.popleft()
            on_arrival(host.tolist())

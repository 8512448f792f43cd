"""Who computes nodes: this device, several devices, or a Ray cluster.

Nodes are evaluations that know nothing of each other, and each is reached from the centre, so that
on machines of one class, with the same number of threads, the numbers are bitwise the same,
whoever computes them and in whatever order.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Protocol, final

import torch

from ravine.core.device import pick_device
from ravine.core.ray_cluster import connect
from ravine.landscapes.evaluator import Ground
from ravine.landscapes.node import NodeLoss

Spot = tuple[float, ...]
_RETRIES = 3


class Crew(Protocol):
    """Computes `places` nodes at a time."""

    places: int

    def losses(self, spots: Sequence[Spot]) -> list[NodeLoss]:
        """Returns the loss at each spot, in their order."""
        ...


@final
class Alone:
    """The model itself, node after node."""

    places = 1

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    def losses(self, spots: Sequence[Spot]) -> list[NodeLoss]:
        """Returns the loss at each spot, in their order."""
        return [self._ground.at(*spot) for spot in spots]


@final
class Devices:
    """A model for each device, each with a thread that feeds it."""

    def __init__(self, grounds: Sequence[Ground]) -> None:
        self.places = len(grounds)
        self._free: SimpleQueue[Ground] = SimpleQueue()
        for ground in grounds:
            self._free.put(ground)
        self.pool = ThreadPoolExecutor(self.places)

    def losses(self, spots: Sequence[Spot]) -> list[NodeLoss]:
        """Returns the loss at each spot, in their order."""
        return list(self.pool.map(self._one, spots))

    def _one(self, spot: Spot) -> NodeLoss:
        ground = self._free.get()
        try:
            return ground.at(*spot)
        finally:
            self._free.put(ground)


class _Away:
    """A ground on another machine."""

    def __init__(self, ground: Ground, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._ground = ground.on(torch.device(device))  # what was sent cannot be written to

    def at(self, spot: Spot) -> NodeLoss:
        """Returns the loss at `spot`."""
        return self._ground.at(*spot)


@final
class Cluster:
    """Processes of a Ray cluster; one that dies is started again, with what was sent."""

    def __init__(self, ground: Ground, ray: Any) -> None:
        device = next(ground.model.parameters()).device
        threads, room = torch.get_num_threads(), ray.cluster_resources()
        wants = {"num_cpus": threads} if device.type == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        slots = [int(room.get("CPU", 1)) // wants["num_cpus"]]
        if "num_gpus" in wants:
            slots.append(int(room.get("GPU", 0)))
        self.places = max(1, min(slots))
        kind = ray.remote(max_restarts=_RETRIES, max_task_retries=_RETRIES, **wants)(_Away)
        sent = ray.put(ground.on(torch.device("cpu")))
        self._away = [kind.remote(sent, device.type, threads) for _ in range(self.places)]
        self._ray = ray

    def losses(self, spots: Sequence[Spot]) -> list[NodeLoss]:
        """Returns the loss at each spot, in their order."""
        calls = [
            self._away[k % self.places].at.remote(spot)  # in turn: nodes cost the same
            for k, spot in enumerate(spots)
        ]
        return list(self._ray.get(calls))

    def close(self) -> None:
        """Gives the processes back."""
        for process in self._away:
            self._ray.kill(process)


@contextmanager
def gathered(
    ground: Ground, devices: Sequence[str | torch.device], address: str | None
) -> Iterator[Crew]:
    """Gives those who compute the nodes of `ground`.

    Args:
        ground: of the model itself.
        devices: that share the nodes; none is all GPUs if the model is on one, else its own.
        address: of a Ray cluster, which goes before devices.

    Raises:
        SettingError: a device is not here, or no cluster answers.
    """
    own = next(ground.model.parameters()).device
    if address is not None:
        cluster = Cluster(ground, connect(address))
        try:
            yield cluster
        finally:
            cluster.close()
        return
    wanted = [_numbered(pick_device(str(device))) for device in devices]
    if not wanted and own.type == "cuda":
        wanted = [torch.device("cuda", k) for k in range(torch.cuda.device_count())]
    if len(wanted) < 2 and wanted in ([], [own]):
        yield Alone(ground)
        return
    # The model itself takes part once; the others are copies.
    first = wanted.index(own) if own in wanted else -1
    grounds = [ground if k == first else ground.on(device) for k, device in enumerate(wanted)]
    crew = Devices(grounds)
    with crew.pool:
        yield crew


def _numbered(device: torch.device) -> torch.device:
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device

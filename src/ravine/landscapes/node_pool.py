"""The node pool: nodes computed on this device, on several devices, or on a Ray cluster.

Nodes are evaluations that do not depend on each other, and each is reached from the centre, so that
on machines of one class, with the same number of threads, the numbers are bitwise the same on any
pool and in any order.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any, Protocol, final

import torch

from ravine.core.device import pick_device
from ravine.core.ray_cluster import connect
from ravine.landscapes.evaluator import GridEvaluator
from ravine.landscapes.node import NodeLoss

Coordinates = tuple[float, ...]
_RETRIES = 3


class NodePool(Protocol):
    """Computes `size` nodes at a time."""

    size: int

    def losses(self, nodes: Sequence[Coordinates]) -> list[NodeLoss]:
        """Returns the loss at each node, in their order."""
        ...


@final
class SequentialPool:
    """The model itself, node after node."""

    size = 1

    def __init__(self, evaluator: GridEvaluator) -> None:
        self._evaluator = evaluator

    def losses(self, nodes: Sequence[Coordinates]) -> list[NodeLoss]:
        """Returns the loss at each node, in their order."""
        return [self._evaluator.loss_at(*node) for node in nodes]


@final
class DevicePool:
    """A model for each device, each with a thread that feeds it."""

    def __init__(self, evaluators: Sequence[GridEvaluator]) -> None:
        self.size = len(evaluators)
        self._free: SimpleQueue[GridEvaluator] = SimpleQueue()
        for evaluator in evaluators:
            self._free.put(evaluator)
        self.threads = ThreadPoolExecutor(self.size)

    def losses(self, nodes: Sequence[Coordinates]) -> list[NodeLoss]:
        """Returns the loss at each node, in their order."""
        return list(self.threads.map(self._loss, nodes))

    def _loss(self, node: Coordinates) -> NodeLoss:
        evaluator = self._free.get()
        try:
            return evaluator.loss_at(*node)
        finally:
            self._free.put(evaluator)


class _RemoteEvaluator:
    """A grid evaluator in a process of the cluster."""

    def __init__(self, evaluator: GridEvaluator, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self._evaluator = evaluator.on(torch.device(device))  # what was sent is read-only

    def loss_at(self, node: Coordinates) -> NodeLoss:
        """Returns the loss at `node`."""
        return self._evaluator.loss_at(*node)


@final
class RayPool:
    """Processes of a Ray cluster; one that dies is started again from the same evaluator."""

    def __init__(self, evaluator: GridEvaluator, ray: Any) -> None:
        device = evaluator.device
        threads, resources = torch.get_num_threads(), ray.cluster_resources()
        wants = {"num_cpus": threads} if device.type == "cpu" else {"num_cpus": 1, "num_gpus": 1}
        slots = [int(resources.get("CPU", 1)) // wants["num_cpus"]]
        if "num_gpus" in wants:
            slots.append(int(resources.get("GPU", 0)))
        self.size = max(1, min(slots))
        kind = ray.remote(max_restarts=_RETRIES, max_task_retries=_RETRIES, **wants)(
            _RemoteEvaluator
        )
        sent = ray.put(evaluator.on(torch.device("cpu")))
        self._processes = [kind.remote(sent, device.type, threads) for _ in range(self.size)]
        self._ray = ray

    def losses(self, nodes: Sequence[Coordinates]) -> list[NodeLoss]:
        """Returns the loss at each node, in their order."""
        calls = [
            self._processes[k % self.size].loss_at.remote(node)  # in turn: nodes cost the same
            for k, node in enumerate(nodes)
        ]
        return list(self._ray.get(calls))

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            self._ray.kill(process)


@contextmanager
def open_pool(
    evaluator: GridEvaluator, devices: Sequence[str | torch.device], address: str | None
) -> Iterator[NodePool]:
    """Yields the pool that computes the nodes of `evaluator`.

    Args:
        evaluator: of the model itself.
        devices: that share the nodes; none is all GPUs if the model is on one, else its own.
        address: of a Ray cluster; it takes precedence over devices.

    Raises:
        SettingError: a device is not here, or no cluster answers.
    """
    if address is not None:
        cluster = RayPool(evaluator, connect(address))
        try:
            yield cluster
        finally:
            cluster.close()
        return
    own = evaluator.device
    wanted = [_numbered(pick_device(str(device))) for device in devices]
    if not wanted and own.type == "cuda":
        wanted = [torch.device("cuda", k) for k in range(torch.cuda.device_count())]
    if len(wanted) < 2 and wanted in ([], [own]):
        yield SequentialPool(evaluator)
        return
    # The model itself takes part once; the others are copies.
    first = wanted.index(own) if own in wanted else -1
    pool = DevicePool(
        [evaluator if k == first else evaluator.on(device) for k, device in enumerate(wanted)]
    )
    with pool.threads:
        yield pool


def _numbered(device: torch.device) -> torch.device:
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device

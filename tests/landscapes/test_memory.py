"""At most three copies of the weights besides the model's own, by counting every tensor."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ravine.landscapes import landscape

LAYERS, WIDTH = 24, 200


class Counted(TorchDispatchMode):
    """Sums the bytes of all storages that live after each operation."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0
        self._bytes = 0  # of all in `_seen`, some of which may have gone
        self._seen: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, result)):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                _, before = self._seen.get(storage._cdata, (None, 0))
                self._seen[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
                self._bytes += storage.nbytes() - before
        if self._bytes > self.most:  # else no more than ever live, whatever has gone
            self._seen = {k: v for k, v in self._seen.items() if not v[0].expired()}
            self._bytes = sum(size for _, size in self._seen.values())
            self.most = max(self.most, self._bytes)
        return result


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))


def points(folder: Path, count: int) -> list[Path]:
    for k in range(count):
        save_file(network(k + 1).state_dict(), folder / f"{k}.safetensors")
    return [folder / f"{k}.safetensors" for k in range(count)]


def copies(work: Callable[[nn.Module], Any]) -> float:
    """Returns how many times the weights are held at most, the model's own counted."""
    model = network()
    gc.collect()
    with Counted() as counted:
        for p in model.parameters():
            p.detach()
        work(model)
    return counted.most / sum(p.numel() * p.element_size() for p in model.parameters())


def surface(model: nn.Module, **options: Any) -> None:
    batches = [(torch.ones(4, WIDTH), torch.ones(4, WIDTH))]
    landscape(model, nn.functional.mse_loss, batches, nodes=5, **options)


# Of a layer's own size, 1/24 of all, a few tensors in float64 may live for a moment.
MOST = 1 + 3 + 0.6


@pytest.mark.parametrize("count", [3, 14])
def test_a_trajectory_of_any_length(tmp_path: Path, count: int) -> None:
    saved = points(tmp_path, count)

    most = copies(lambda model: surface(model, along="trajectory", trajectory=saved))

    assert 3.9 < most < MOST


def test_random_directions() -> None:
    assert 3.9 < copies(surface) < MOST


def test_a_path_between_three_that_are_loaded_one_by_one() -> None:
    most = copies(lambda model: surface(model, along="models", models=(network(k) for k in (1, 2))))

    assert 3.9 < most < MOST


def test_the_count_sees_a_copy_more() -> None:
    kept = []

    def wasteful(model: nn.Module) -> None:
        kept.extend(p.detach().clone() for p in model.parameters())
        surface(model)

    assert copies(wasteful) > MOST

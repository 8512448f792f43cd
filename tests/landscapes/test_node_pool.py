"""Nodes on several devices or a cluster: the same numbers, bit for bit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.landscapes import landscape


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)]
    return nn.Sequential(*layers)


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 1, 8, 8, generator=generator)
    return list(zip(x.split(10), (x.mean((1, 2, 3)) > 0).long().split(10), strict=True))


def each_image(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def states(model: nn.Module) -> list[Tensor]:
    return [t.detach().clone() for t in model.state_dict().values()]


@pytest.mark.parametrize("policy", ["running", "re-estimated"])
@pytest.mark.parametrize("devices", [["cpu", "cpu"], ["cpu", "cpu", "cpu"]])
def test_several_devices_give_the_same_numbers(policy: str, devices: list[str]) -> None:
    model = network()
    before = states(model)
    alone = landscape(model, each_image, batches(), nodes=7, policy=policy)
    shared = landscape(model, each_image, batches(), nodes=7, policy=policy, devices=devices)

    np.testing.assert_array_equal(alone.loss, shared.loss)
    np.testing.assert_array_equal(alone.standard_error, shared.standard_error)
    assert all(torch.equal(a, b) for a, b in zip(before, states(model), strict=True))


def test_a_device_that_is_not_here_is_refused() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(SettingError, match="needs a GPU and there is none"):
        landscape(network(), each_image, batches(), nodes=5, devices=["cpu", "cuda:0"])


def test_a_cluster_that_does_not_answer_is_refused() -> None:
    pytest.importorskip("ray")
    with pytest.raises(SettingError, match=r"no Ray cluster answers at 127\.0\.0\.1:1 "):
        landscape(network(), each_image, batches(), nodes=5, ray="127.0.0.1:1")


@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_numbers() -> None:
    ray = pytest.importorskip("ray")
    model = network()
    alone = landscape(model, each_image, batches(), nodes=7)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        shared = landscape(model, each_image, batches(), nodes=7, ray="auto")
    finally:
        ray.shutdown()

    np.testing.assert_array_equal(alone.loss, shared.loss)
    np.testing.assert_array_equal(alone.standard_error, shared.standard_error)

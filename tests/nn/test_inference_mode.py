"""Ravine's networks under torch.inference_mode, as programs of others run them."""

import pytest
import torch

from ravine.models import build


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-cifar-8", "swift-1"])
def test_a_network_answers_in_inference_mode_as_without_gradients(name: str) -> None:
    torch.manual_seed(0)
    network = build(name, classes=4, image_size=16).eval().to(memory_format=torch.channels_last)
    images = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)

    with torch.no_grad():
        wanted = network(images)
    with torch.inference_mode():
        found = network(images)

    assert torch.equal(found, wanted)

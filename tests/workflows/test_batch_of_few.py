"""A batch that is larger than the data: its learning rate is that of the images there are."""

from pathlib import Path

import numpy as np
import torch

import ravine
from ravine.core.events import Event, Notice

SETTINGS = {
    "model": "resnet-cifar-8", "epochs": 2, "device": "cpu", "threads": 1, "validation": 0,
    "convolution": "torch", "monitor": 0.0, "show": "none", "cache": False,
}  # fmt: skip


def test_a_batch_of_more_images_than_there_are_trains_as_one_of_all(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    data = tmp_path / "few.npz"
    images = chance.integers(0, 256, (44, 8, 8, 1), np.uint8)
    np.savez(data, images=images, labels=np.arange(44) % 2)
    heard: list[Event] = []

    out = tmp_path / "large"
    large = ravine.train(data, out=out, batch=4096, observers=[heard.append], **SETTINGS)
    exact = ravine.train(data, out=tmp_path / "exact", batch=44, **SETTINGS)

    said = [event.text for event in heard if isinstance(event, Notice)]
    assert "batch 4096 becomes 44: all images of the training" in said
    for one, other in zip(large.model.parameters(), exact.model.parameters(), strict=True):
        assert torch.equal(one, other)

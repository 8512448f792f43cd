"""Somebody else's network, with its layers swapped."""

import copy

import torch
import torch.nn.functional as F
from torch import nn

from ravine.nn import use_kernels_


class Theirs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.pool = nn.MaxPool2d(2)
        self.conv = nn.Conv2d(32, 32, 3, padding="same")
        self.bn2 = nn.BatchNorm2d(32)
        self.head = nn.Linear(32, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(torch.relu(self.bn1(self.stem(x))))
        return self.head(torch.relu(self.bn2(self.conv(x))).mean((2, 3)))


def test_a_network_gives_the_same_and_keeps_its_names() -> None:
    torch.manual_seed(0)
    theirs = Theirs().to(memory_format=torch.channels_last)
    ours = use_kernels_(copy.deepcopy(theirs))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    x = torch.randn(8, 3, 12, 12).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(8) % 4
    gradients, logits = [], []
    for model in (theirs, ours):
        with torch.autocast("cpu", torch.bfloat16):
            out = model(x)
        F.cross_entropy(out.float(), labels).backward()
        logits.append(out.detach().float())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))  # type: ignore[union-attr]
    torch.testing.assert_close(logits[0], logits[1], rtol=0.05, atol=0.05)
    away = (gradients[0] - gradients[1]).norm() / gradients[0].norm()
    assert float(away) < 0.05
    torch.testing.assert_close(ours.bn1.running_var, theirs.bn1.running_var, rtol=1e-2, atol=1e-4)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-2, atol=1e-2)


def test_subclasses_are_left_alone() -> None:
    class Special(nn.Conv2d):
        pass

    model = nn.Sequential(Special(16, 16, 3))
    assert type(use_kernels_(model)[0]) is Special  # type: ignore[index]

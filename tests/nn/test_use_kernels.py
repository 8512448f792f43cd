"""Somebody else's network, with its layers swapped."""

import copy
import pickle

import pytest
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


def chain(activation: nn.Module) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), activation,
        nn.Conv2d(32, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), copy.deepcopy(activation),
    ).to(memory_format=torch.channels_last)  # fmt: skip


def after_a_step(model: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    """Returns the result, the gradients, and all buffers after a step in training mode."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    y = model.train()(x)
    y.backward(torch.linspace(-1, 1, y.numel()).view_as(y))
    assert x.grad is not None
    gradients = [p.grad for p in model.parameters()]
    return [y.detach(), x.grad, *gradients, *(b.float() for b in model.buffers())]  # type: ignore[list-item]


@pytest.mark.parametrize("activation", [nn.ReLU(inplace=True), nn.GELU(), nn.SiLU(), nn.Tanh()])
def test_chains_in_a_sequential_give_what_the_layers_give(activation: nn.Module) -> None:
    theirs = chain(activation)
    ours = use_kernels_(copy.deepcopy(theirs))
    x = torch.randn(4, 16, 10, 10).contiguous(memory_format=torch.channels_last)

    assert list(ours.state_dict()) == list(theirs.state_dict())
    for one, other in zip(after_a_step(theirs, x), after_a_step(ours, x), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-3, atol=1e-3)


def test_a_hook_in_a_chain_sees_what_its_layer_gives() -> None:
    theirs = chain(nn.ReLU())
    ours = use_kernels_(copy.deepcopy(theirs))
    x = torch.randn(4, 16, 10, 10).contiguous(memory_format=torch.channels_last)
    seen: dict[str, list[torch.Tensor]] = {"theirs": [], "ours": []}
    for name, model in (("theirs", theirs), ("ours", ours)):
        for layer in model.children():
            layer.register_forward_hook(
                lambda *facts, name=name: seen[name].append(facts[2].detach())
            )
        model(x)

    assert len(seen["ours"]) == len(seen["theirs"]) == 6
    for one, other in zip(seen["theirs"], seen["ours"], strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)


def test_a_chain_with_kernels_is_saved_and_copied() -> None:
    ours = use_kernels_(chain(nn.ReLU()))
    x = torch.randn(2, 16, 8, 8).contiguous(memory_format=torch.channels_last)
    again = pickle.loads(pickle.dumps(copy.deepcopy(ours)))  # noqa: S301 - our own bytes

    assert torch.equal(again.eval()(x), ours.eval()(x))


def test_a_chain_is_compiled_and_exported_as_a_whole() -> None:
    theirs = chain(nn.ReLU())
    ours = use_kernels_(copy.deepcopy(theirs))
    x = torch.randn(4, 16, 10, 10).contiguous(memory_format=torch.channels_last)

    compiled = torch.compile(ours, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), theirs(x), rtol=1e-3, atol=1e-3)
    exported = torch.export.export(ours.eval(), (x,)).module()
    torch.testing.assert_close(exported(x), theirs.eval()(x), rtol=1e-3, atol=1e-3)


class BasicBlock(nn.Module):
    """The residual block of He et al. (2015), with the names that torchvision's has."""

    def __init__(
        self, channels: int, out_channels: int, stride: int, more: nn.Module | None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride > 1:
            skip = nn.Conv2d(channels, out_channels, 1, stride, bias=False)
            self.downsample = nn.Sequential(skip, nn.BatchNorm2d(out_channels))
        self.se = more

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        y = y if self.se is None else self.se(y)
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


BasicBlock.__module__ = "torchvision.models.resnet"


@pytest.mark.parametrize("more", [None, nn.Identity(), nn.Hardtanh(-0.5, 0.5)])
def test_residual_blocks_give_what_they_gave(more: nn.Module | None) -> None:
    torch.manual_seed(2)
    theirs = nn.Sequential(BasicBlock(16, 32, 2, more), BasicBlock(32, 32, 1, more))
    theirs = theirs.to(memory_format=torch.channels_last)
    ours = copy.deepcopy(use_kernels_(copy.deepcopy(theirs)))
    x = torch.randn(4, 16, 12, 12).contiguous(memory_format=torch.channels_last)

    assert isinstance(ours[0], BasicBlock)  # type: ignore[index]
    for one, other in zip(after_a_step(theirs, x), after_a_step(ours, x), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=2e-3)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x), rtol=1e-3, atol=1e-3)


def test_hooks_in_a_residual_block_see_what_its_layers_give() -> None:
    torch.manual_seed(3)
    theirs = BasicBlock(16, 32, 2, None).to(memory_format=torch.channels_last)
    ours = use_kernels_(copy.deepcopy(theirs))
    x = torch.randn(4, 16, 12, 12).contiguous(memory_format=torch.channels_last)
    seen: list[list[torch.Tensor]] = [[], []]
    for number, model in enumerate((theirs, ours)):
        for name in ("conv1", "bn1", "conv2"):
            model.get_submodule(name).register_forward_hook(
                lambda *facts, number=number: seen[number].append(facts[2].detach().clone())
            )
        model(x)

    assert len(seen[1]) == len(seen[0]) == 3
    for one, other in zip(*seen, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-3)

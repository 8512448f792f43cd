"""The convolution layer: when it is torch's, its hooks, and networks with and without tiles."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.models import build
from ravine.nn.convolution import Conv2d
from ravine.nn.norm_act import NormAct

pytestmark = pytest.mark.usefixtures("tiles")


def images(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.bfloat16().contiguous(memory_format=torch.channels_last)


def test_images_without_a_batch_are_torchs_forked_and_after_a_norm() -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False)
    norm = NormAct(nn.Identity(), nn.ReLU())
    x = torch.randn(32, 6, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        wanted = nn.Conv2d.forward(layer, x)
        assert torch.equal(layer.forward_and_fork(x)[0], wanted)
        wanted = nn.Conv2d.forward(layer, x.relu())
        assert torch.equal(layer.norm_act_conv(norm, x)[0], wanted)


def test_a_hook_on_a_forked_convolution_is_called() -> None:
    layer = Conv2d(32, 64, 1, 2, bias=False).to(memory_format=torch.channels_last)
    x = images(3, 32, 6, 6, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        alone, _ = layer.forward_and_fork(x)
        seen: list[Tensor] = []
        layer.register_forward_hook(lambda _layer, _inputs, y: seen.append(y))
        hooked, same = layer.forward_and_fork(x)
    assert same is x
    assert torch.equal(seen[0], alone)
    assert torch.equal(hooked, alone)


def test_a_residual_is_added_and_has_its_gradient() -> None:
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x, residual = images(3, 32, 6, 6, seed=1), images(3, 32, 6, 6, seed=2).requires_grad_()
    kept = residual.detach().clone()
    with torch.autocast("cpu", torch.bfloat16):
        found, alone = layer(x, residual), layer(x)
    torch.testing.assert_close(found.float(), alone.float() + kept.float(), rtol=2e-2, atol=2e-2)
    assert torch.equal(residual.detach(), kept)
    dy = images(3, 32, 6, 6, seed=3)
    found.backward(dy)
    assert residual.grad is not None
    assert torch.equal(residual.grad, dy)


@pytest.mark.parametrize(
    "options",
    [{"groups": 4}, {"dilation": 2}, {"padding_mode": "reflect", "padding": 1}],
)
def test_other_convolutions_are_torchs(options: dict[str, object]) -> None:
    ours = Conv2d(32, 32, 3, **options)  # type: ignore[arg-type]
    torchs = nn.Conv2d(32, 32, 3, **options)  # type: ignore[arg-type]
    torchs.load_state_dict(ours.state_dict())
    x = images(2, 32, 8, 8, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ours(x), torchs(x))


def test_patches_larger_than_the_kernels_strides_are_torchs() -> None:
    layer = Conv2d(16, 32, 16, 16)
    x = images(2, 16, 32, 32, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert "Tiled" not in type(y.grad_fn).__name__
    dy = images(*y.shape, seed=2)
    y.backward(dy)
    x64, weight = x.double(), layer.weight.detach().bfloat16().double().requires_grad_()
    F.conv2d(x64, weight, stride=16).backward(dy.double())
    assert layer.weight.grad is not None
    assert weight.grad is not None
    torch.testing.assert_close(layer.weight.grad.double(), weight.grad, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-cifar-8", "preact-11"])
def test_a_network_learns_alike_with_and_without_the_library(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curves of five seeds: their mean differs by less than they differ themselves."""

    def curves(kernels: bool) -> Tensor:
        if not kernels:
            monkeypatch.setattr("ravine.nn.convolution.has_choice", lambda: False)
            monkeypatch.setattr("ravine.ops.library_inputs.load_library", lambda: None)
        found = []
        for seed in range(5):
            torch.manual_seed(seed)
            model = build(name, classes=4, channels=1, image_size=12)
            model = model.to(memory_format=torch.channels_last)
            labels = torch.arange(32) % 4
            x = torch.randn(32, 1, 12, 12)
            x[:, 0, :, :3] += labels[:, None, None].float()
            x = x.contiguous(memory_format=torch.channels_last)
            optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9)
            losses = []
            for _ in range(12):
                optimizer.zero_grad()
                with torch.autocast("cpu", torch.bfloat16):
                    logits = model(x)
                loss = F.cross_entropy(logits.float(), labels)
                loss.backward()
                optimizer.step()
                losses.append(float(loss.detach()))
            found.append(losses)
        return torch.tensor(found)

    fused, plain = curves(kernels=True), curves(kernels=False)
    assert float(fused[:, -1].mean()) < 0.7 * float(fused[:, 0].mean())
    torch.testing.assert_close(fused[:, 0], plain[:, 0], rtol=0.02, atol=0.02)
    spread = fused.std(0) / 5**0.5 + plain.std(0) / 5**0.5 + 0.02
    assert ((fused.mean(0) - plain.mean(0)).abs() < 3 * spread).all()


def test_second_derivatives_are_there_outside_bfloat16() -> None:
    layer = Conv2d(16, 16, 3)
    x = torch.randn(1, 16, 5, 5)
    (first,) = torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), layer.weight)
    assert second.abs().sum() > 0
    assert copy.deepcopy(layer).weight.shape == layer.weight.shape

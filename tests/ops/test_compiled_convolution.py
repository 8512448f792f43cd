"""Convolutions in tiles inside compiled networks."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ravine.nn.convolution import Conv2d

pytestmark = pytest.mark.usefixtures("tiles")


def images(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.bfloat16().contiguous(memory_format=torch.channels_last)


class Branches(nn.Module):
    """Convolutions of every kind that goes through tiles, with a sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = Conv2d(3, 32, 3, padding=1)
        self.whole = Conv2d(32, 32, 3, padding=1, bias=False)
        self.summed = Conv2d(32, 32, 3, padding=1, bias=False)
        self.strided = Conv2d(32, 48, 3, stride=2, padding=1, bias=True)
        self.short = Conv2d(32, 48, 1, stride=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = self.summed(self.whole(x).relu(), x)
        return self.strided(x, self.short(x))


def test_a_compiled_network_keeps_the_tiles_and_their_derivatives() -> None:
    plain = Branches().to(memory_format=torch.channels_last)
    twin = copy.deepcopy(plain)
    kept: list[str] = []

    def look(graph: torch.fx.GraphModule, _inputs: list[Tensor]) -> torch.fx.GraphModule:
        kept.extend(str(node.target) for node in graph.graph.nodes)
        return graph

    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    x = torch.randn(4, 3, 10, 12).contiguous(memory_format=torch.channels_last)
    results = []
    for network in (plain, compiled, torch.compile(plain, backend=look, fullgraph=True)):
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            y = network(x)
        y.float().square().mean().backward()
        results.append(y.detach())
    assert kept.count("ravine.convolution.default") == 4
    torch.testing.assert_close(results[1], results[0], rtol=2**-7, atol=1e-2)
    for found, wanted in zip(twin.parameters(), plain.parameters(), strict=True):
        assert found.grad is not None
        assert wanted.grad is not None
        assert float((found.grad - wanted.grad).norm() / wanted.grad.norm()) < 0.01


@pytest.mark.parametrize("algorithm", ["tiles", "tiles-weights"])
def test_the_operators_keep_torchs_promises(algorithm: str) -> None:
    x = images(2, 32, 6, 7, seed=0).requires_grad_()
    weight = torch.randn(32, 32, 3, 3).contiguous(memory_format=torch.channels_last)
    residual = images(2, 32, 6, 7, seed=1).requires_grad_()
    bias = None if algorithm == "tiles" else torch.randn(32).bfloat16().requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        torch.ops.ravine.convolution.default,
        (x, weight.requires_grad_(), bias, residual, 1, 1, algorithm),
        test_utils=checks,
    )

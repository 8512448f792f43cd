"""Norm, addition and activation in one kernel, against float64 formulas and torch's layers."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ravine.kernels.library import Library, load_library
from ravine.nn.norm_act import NormAct

pytestmark = pytest.mark.skipif(load_library() is None, reason="no C library here")
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


def images(shape: tuple[int, ...], *, seed: int, mean: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator) * 1.5 + mean
    return drawn.bfloat16().contiguous(memory_format=torch.channels_last)


def layer(channels: int, activation: str, *, seed: int = 0) -> NormAct:
    generator = torch.Generator().manual_seed(seed)
    norm = nn.BatchNorm2d(channels, eps=3e-4, momentum=0.3)
    with torch.no_grad():
        norm.weight.copy_(torch.rand(channels, generator=generator) + 0.5)
        norm.bias.copy_(torch.randn(channels, generator=generator))
    return NormAct(norm, LAYERS[activation]())


def activated(z: Tensor, name: str) -> Tensor:
    if name == "relu":
        return z.clamp(min=0)
    if name == "gelu":
        return z * 0.5 * (1 + torch.erf(z / math.sqrt(2)))
    return z / (1 + torch.exp(-z)) if name == "silu" else z


def formula(module: NormAct, x: Tensor, added: Tensor | None, name: str) -> Tensor:
    """act(weight·(x − mean)/√(var + ε) + bias + added) of the batch, in float64."""
    norm = module.norm
    assert isinstance(norm, nn.BatchNorm2d)
    mean = x.mean((0, 2, 3), keepdim=True)
    var = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
    weight, bias = (p.double()[:, None, None] for p in (norm.weight, norm.bias))
    z = weight * (x - mean) / (var + norm.eps).sqrt() + bias
    return activated(z if added is None else z + added, name)


def assert_close(found: Tensor, wanted: Tensor, *, bits: int = 8) -> None:
    """Close up to a rounding to `bits` bits, and a thousandth of the largest."""
    scale = float(wanted.detach().abs().max())
    torch.testing.assert_close(
        found.detach().double(), wanted.detach().double(), rtol=2.0**-bits, atol=2e-3 * scale
    )


library = load_library()
LEVELS = range(library.level + 1) if library else []


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("activation", sorted(LAYERS))
def test_the_code_of_every_level_is_the_formula(
    level: int, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library is not None
    at_level = Library(library.functions, level)
    monkeypatch.setattr("ravine.ops.library_inputs.load_library", lambda: at_level)
    test_forward_and_backward_are_the_formulas.hypothesis.inner_test(  # type: ignore[attr-defined]
        batch=3, channels=37, size=5, activation=activation, with_added=True, mean=2.0, seed=level
    )


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 5),
    channels=st.sampled_from([1, 3, 16, 20, 32, 70]),
    size=st.integers(2, 9),
    activation=st.sampled_from(sorted(LAYERS)),
    with_added=st.booleans(),
    mean=st.sampled_from([0.0, 40.0]),
    seed=st.integers(0, 1000),
)
def test_forward_and_backward_are_the_formulas(
    batch: int, channels: int, size: int, activation: str, with_added: bool, mean: float, seed: int
) -> None:
    module = layer(channels, activation, seed=seed)
    shape = (batch, channels, size, size)
    x = images(shape, seed=seed, mean=mean).requires_grad_()
    added = images(shape, seed=seed + 1).requires_grad_() if with_added else None
    dy = images(shape, seed=seed + 2)
    y = module(x, added)
    assert y.dtype is torch.bfloat16
    assert y.grad_fn is not None
    y.backward(dy)

    twin = copy.deepcopy(module).double()
    twin.zero_grad()
    x64 = x.detach().double().requires_grad_()
    added64 = None if added is None else added.detach().double().requires_grad_()
    y64 = formula(twin, x64, added64, activation)
    y64.backward(dy.double())
    assert_close(y, y64)
    assert x.grad is not None
    assert x64.grad is not None
    assert_close(x.grad, x64.grad, bits=7)
    for name in ("weight", "bias"):
        assert_close(getattr(module.norm, name).grad, getattr(twin.norm, name).grad, bits=12)
    if added is not None and added64 is not None:
        assert_close(added.grad, added64.grad)  # type: ignore[arg-type]


def test_running_statistics_move_as_torchs() -> None:
    module, x = layer(20, "relu"), images((6, 20, 5, 5), seed=1, mean=3.0)
    twin = copy.deepcopy(module.norm)
    for _ in range(3):
        module(x)
        twin(x.float())
    assert int(module.norm.num_batches_tracked) == 3  # type: ignore[arg-type]
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(module.norm, name), getattr(twin, name))


def test_evaluation_uses_the_running_statistics_and_leaves_them() -> None:
    module = layer(32, "gelu")
    module(images((8, 32, 6, 6), seed=1))
    module.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = images((4, 32, 6, 6), seed=2).requires_grad_()
    y = module(x)
    y.backward(torch.ones_like(y))
    twin = copy.deepcopy(module)
    x32 = x.detach().float().requires_grad_()
    y32 = twin.act(twin.norm(x32))
    y32.backward(torch.ones_like(y32))
    assert_close(y, y32)
    assert_close(x.grad, x32.grad)  # type: ignore[arg-type]
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_gradient_of_the_forked_x_is_added() -> None:
    module = layer(32, "relu")
    x = images((4, 32, 6, 6), seed=2)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    dy, dx = images(x.shape, seed=3), images(x.shape, seed=4)
    y, forked = module.forward_and_fork(one)
    assert torch.equal(forked, x)
    torch.autograd.backward([y, forked], [dy, dx])
    module(two).backward(dy)
    assert_close(one.grad, two.grad.float() + dx.float(), bits=6)  # type: ignore[operator,arg-type]
    three = x.clone().requires_grad_()
    module.forward_and_fork(three)[1].backward(dx)
    assert torch.equal(three.grad, dx)  # type: ignore[arg-type]


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    x, dy = images((8, 48, 9, 9), seed=1), images((8, 48, 9, 9), seed=2)
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            module, own = layer(48, "silu"), x.clone().requires_grad_()
            y = module(own)
            y.backward(dy)
            found.append((y.detach(), own.grad, module.norm.weight.grad, module.norm.running_var))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_not_hidden(bad: float) -> None:
    module, x = layer(16, "relu"), images((2, 16, 4, 4), seed=1)
    x[1, 3, 2, 2] = bad
    y = module(x)
    assert not y[:, 3].isfinite().any()
    assert y[:, 4].isfinite().all()


def test_a_hook_on_the_norm_sees_it_run() -> None:
    module, x = layer(16, "relu"), images((2, 16, 4, 4), seed=1)
    wanted, seen = module(x), []
    handle = module.norm.register_forward_hook(lambda *args: seen.append(args[2]))
    found = module(x)
    handle.remove()
    assert len(seen) == 1
    assert_close(found, wanted)
    module(x)
    assert len(seen) == 1


def test_one_value_per_channel_is_refused_in_torchs_words() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        layer(16, "relu")(images((1, 16, 1, 1), seed=1))


def test_float32_and_other_norms_run_as_layers() -> None:
    x = images((4, 32, 6, 6), seed=2)
    module = layer(32, "relu")
    assert torch.equal(module(x.float()), module.act(module.norm(x.float())))
    group = NormAct(nn.GroupNorm(4, 32), nn.ReLU())
    assert torch.equal(group(x.float()), group.act(group.norm(x.float())))
    added = x.float()
    torch.testing.assert_close(
        module(x.float(), added), (module.norm(x.float()) + added).clamp(min=0)
    )


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.norm_act = layer(16, "relu")
        self.second = nn.Conv2d(16, 16, 3, padding=1)
        self.end = layer(16, "gelu", seed=1)

    def forward(self, x: Tensor) -> Tensor:
        one, x = self.norm_act.forward_and_fork(self.first(x))
        return self.end(self.second(one), x)


@pytest.mark.parametrize("training", [True, False])
def test_a_compiled_network_keeps_the_kernel_and_its_derivatives(training: bool) -> None:
    torch.manual_seed(0)
    plain = Net().to(memory_format=torch.channels_last).train(training)
    twin = copy.deepcopy(plain)
    # One graph: nothing of the kernel is left to Python.
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    x = torch.randn(16, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    results = []
    for network in (plain, compiled):
        with torch.autocast("cpu", torch.bfloat16):
            y = network(x)
        y.float().square().mean().backward()
        results.append(y.detach())
    assert_close(results[1], results[0], bits=7)
    for found, wanted in zip(twin.parameters(), plain.parameters(), strict=True):
        if float(wanted.grad.norm()) > 1e-4:  # type: ignore[union-attr]
            away = (found.grad - wanted.grad).norm() / wanted.grad.norm()  # type: ignore[operator,union-attr]
            assert float(away) < 0.05
    for found, wanted in zip(twin.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)

"""Norm, addition and activation in one kernel, against float64 formulas and torch's layers."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd import forward_ad

from ravine.kernels.library import Library, load_library
from ravine.nn.norm_act import NormAct
from ravine.ops.epilogue_statistics import attach_gradient_sums, attach_output_sums, norm_of

pytestmark = pytest.mark.skipif(load_library() is None, reason="no C library here")
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}


TYPES = st.sampled_from([torch.bfloat16, torch.float32])
every_type = pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])


def images(
    shape: tuple[int, ...],
    *,
    seed: int,
    mean: float = 0.0,
    dtype: torch.dtype = torch.bfloat16,
) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(shape, generator=generator) * 1.5 + mean
    return drawn.to(dtype).contiguous(memory_format=torch.channels_last)


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


def assert_close(
    found: Tensor,
    wanted: Tensor,
    *,
    bits: int = 8,
    dtype: torch.dtype = torch.bfloat16,
    terms: float = 0.0,
) -> None:
    """Close up to a rounding to `bits` bits, and 2 thousandths of the largest; float32 to 2⁻¹⁷.

    `terms` are the sizes of what was added up, beside which a sum may be small.
    """
    if dtype is torch.float32:
        assert found.dtype is torch.float32
        bits = 17
    scale = max(float(wanted.detach().abs().max()), terms / 8)
    atol = (2e-3 if dtype is torch.bfloat16 else 2.0**-17) * scale
    torch.testing.assert_close(
        found.detach().double(), wanted.detach().double(), rtol=2.0**-bits, atol=atol
    )


library = load_library()
LEVELS = range(library.level + 1) if library else []


@every_type
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("activation", sorted(LAYERS))
def test_the_code_of_every_level_is_the_formula(
    level: int, activation: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert library is not None
    at_level = Library(library.functions, level)
    monkeypatch.setattr("ravine.ops.library_inputs.load_library", lambda: at_level)
    test_forward_and_backward_are_the_formulas.hypothesis.inner_test(  # type: ignore[attr-defined]
        sizes=(3, 5), channels=37, activation=activation, with_added=True, mean=2.0,
        dtype=dtype, seed=level,
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    # Of few values the variance can be next to nothing, and what is divided by it all rounding.
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 9)).filter(lambda s: s[0] * s[1] ** 2 > 8),
    channels=st.sampled_from([1, 3, 16, 20, 32, 70]),
    activation=st.sampled_from(sorted(LAYERS)),
    with_added=st.booleans(),
    mean=st.sampled_from([0.0, 40.0]),
    dtype=TYPES,
    seed=st.integers(0, 1000),
)
def test_forward_and_backward_are_the_formulas(
    sizes: tuple[int, int], channels: int, activation: str, with_added: bool, mean: float,
    dtype: torch.dtype, seed: int,
) -> None:  # fmt: skip
    """Images of B and, both ways, S pixels; 1×1 ones too."""
    module = layer(channels, activation, seed=seed)
    shape = (sizes[0], channels, sizes[1], sizes[1])
    x = images(shape, seed=seed, mean=mean, dtype=dtype).requires_grad_()
    added = images(shape, seed=seed + 1, dtype=dtype).requires_grad_() if with_added else None
    y = module(x, added)
    assert y.dtype is dtype
    assert "NormActivation" in type(y.grad_fn).__name__

    twin = copy.deepcopy(module).double()
    twin.zero_grad()
    x64 = x.detach().double().requires_grad_()
    added64 = None if added is None else added.detach().double().requires_grad_()
    y64 = formula(twin, x64, added64, activation)
    # At its kink ReLU's derivative is 0 or 1 by the last bit: no gradient arrives there.
    away = formula(twin, x64, added64, "identity").detach().abs() > 1e-4
    dy = images(shape, seed=seed + 2, dtype=dtype) * away
    y.backward(dy)
    y64.backward(dy.double())
    assert_close(y, y64, dtype=dtype)
    assert x.grad is not None
    assert x64.grad is not None
    assert_close(x.grad, x64.grad, bits=7, dtype=dtype)
    terms = float(dy.abs().sum((0, 2, 3)).max())
    for name in ("weight", "bias"):
        found, wanted = getattr(module.norm, name).grad, getattr(twin.norm, name).grad
        assert_close(found, wanted, bits=12, dtype=dtype, terms=terms)
    if added is not None and added64 is not None:
        assert_close(added.grad, added64.grad, dtype=dtype)  # type: ignore[arg-type]


def test_running_statistics_move_as_torchs() -> None:
    module, x = layer(20, "relu"), images((6, 20, 5, 5), seed=1, mean=3.0)
    twin = copy.deepcopy(module.norm)
    for _ in range(3):
        module(x)
        twin(x.float())
    assert int(module.norm.num_batches_tracked) == 3  # type: ignore[arg-type]
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(module.norm, name), getattr(twin, name))


@every_type
def test_evaluation_uses_the_running_statistics_and_leaves_them(dtype: torch.dtype) -> None:
    module = layer(32, "gelu")
    module(images((8, 32, 6, 6), seed=1, dtype=dtype))
    module.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    x = images((4, 32, 6, 6), seed=2, dtype=dtype).requires_grad_()
    y = module(x)
    y.backward(torch.ones_like(y))
    twin = copy.deepcopy(module).double()
    x64 = x.detach().double().requires_grad_()
    y64 = twin.act(twin.norm(x64))
    y64.backward(torch.ones_like(y64))
    assert_close(y, y64, dtype=dtype)
    assert_close(x.grad, x64.grad, dtype=dtype)  # type: ignore[arg-type]
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


@every_type
def test_the_gradient_of_the_forked_x_is_added(dtype: torch.dtype) -> None:
    module = layer(32, "relu")
    x = images((4, 32, 6, 6), seed=2, dtype=dtype)
    one, two = x.clone().requires_grad_(), x.clone().requires_grad_()
    dy, dx = (images(x.shape, seed=seed, dtype=dtype) for seed in (3, 4))
    y, forked = module.forward_and_fork(one)
    assert torch.equal(forked, x)
    torch.autograd.backward([y, forked], [dy, dx])
    module(two).backward(dy)
    assert_close(one.grad, two.grad.float() + dx.float(), bits=6, dtype=dtype)  # type: ignore[operator,arg-type]
    three = x.clone().requires_grad_()
    module.forward_and_fork(three)[1].backward(dx)
    assert torch.equal(three.grad, dx)  # type: ignore[arg-type]


@every_type
def test_the_number_of_threads_does_not_change_a_bit(dtype: torch.dtype) -> None:
    x, dy = (images((8, 48, 9, 9), seed=seed, dtype=dtype) for seed in (1, 2))
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


@every_type
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_is_not_hidden(bad: float, dtype: torch.dtype) -> None:
    module, x = layer(16, "relu"), images((2, 16, 4, 4), seed=1, dtype=dtype)
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


def test_other_norms_layouts_and_types_run_as_layers() -> None:
    x = images((4, 32, 6, 6), seed=2, dtype=torch.float32)
    module = layer(32, "relu")
    for other in (x.contiguous(), x.double()):
        module.to(other.dtype)
        assert torch.equal(module(other), module.act(module.norm(other)))
        added = other.clone()
        torch.testing.assert_close(module(other, added), (module.norm(other) + added).clamp(min=0))
    module.float()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(module(x), module.act(module.norm(x)))
    group = NormAct(nn.GroupNorm(4, 32), nn.ReLU())
    assert torch.equal(group(x), group.act(group.norm(x)))


@pytest.mark.parametrize("bias", [False, True])
def test_in_float32_the_results_are_those_of_torchs_layers(bias: bool) -> None:
    """A network of both, several layers deep, in training and then in evaluation."""
    torch.manual_seed(0)
    plain = Net(bias=bias).to(memory_format=torch.channels_last)
    twin = copy.deepcopy(plain)
    for module in twin.modules():  # a hook: torch's layers run
        if isinstance(module, nn.BatchNorm2d):
            module.register_forward_hook(lambda *_: None)
    x = torch.randn(8, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    for training in (True, False):
        results = [network.train(training)(x) for network in (plain, twin)]
        assert ["NormActivation" in type(y.grad_fn).__name__ for y in results] == [True, False]
        torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
        for y in results:
            y.square().mean().backward()
    for found, wanted in zip(plain.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(found.grad, wanted.grad, rtol=1e-4, atol=1e-5)
    for found, wanted in zip(plain.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_sums_of_a_convolution_serve_float32_too() -> None:
    module, twin = layer(20, "relu"), layer(20, "relu")
    shape = (5, 20, 6, 6)
    x = images(shape, seed=1, mean=1.0, dtype=torch.float32).requires_grad_()
    alone = x.detach().clone(memory_format=torch.channels_last).requires_grad_()
    attach_output_sums(x, torch.stack([x.sum((2, 3)), x.square().sum((2, 3))], 1).detach())
    dy = images(shape, seed=2, dtype=torch.float32)
    y, wanted = module(x), twin(alone)
    assert_close(y, wanted, dtype=torch.float32)
    applied = norm_of(y)
    assert applied is not None
    dz = dy * (y > 0)
    centred = (x - applied.mean[:, None, None]).detach()
    sums = torch.stack([dz.sum((2, 3)), (dz * centred).sum((2, 3))], 1)
    attach_gradient_sums(dy, applied.mean, sums.detach())
    y.backward(dy)
    wanted.backward(dy.clone())
    assert_close(x.grad, alone.grad, dtype=torch.float32)  # type: ignore[arg-type]
    for name in ("running_mean", "running_var"):
        torch.testing.assert_close(getattr(module.norm, name), getattr(twin.norm, name))
    # Sums that are wrong are seen in the result: they, and not x, were read.
    attach_output_sums(x, torch.zeros(5, 2, 20))
    assert not torch.allclose(module(x), wanted)


@every_type
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("activation", sorted(LAYERS))
def test_a_gradient_can_be_differentiated_again(
    activation: str, training: bool, dtype: torch.dtype
) -> None:
    """As a gradient penalty does, through x, residual, weight and bias, with x used twice."""
    module = layer(20, activation).train(training)
    twin = copy.deepcopy(module).double()
    shape = (4, 20, 5, 5)
    x, added, dy, probe = (images(shape, seed=seed, dtype=dtype) for seed in range(4))
    found = []
    for network, kind in ((module, dtype), (twin, torch.float64)):
        own, more = (t.to(kind).requires_grad_() for t in (x, added))
        inputs = [own, more, *network.parameters()]
        if kind is dtype:
            y, forked = network.forward_and_fork(own)
            y = y + network(own, more)
        else:
            y, forked = network.act(network.norm(own)), own
            y = y + network.act(network.norm(own) + more)
        value = (y * dy).sum() + (forked * forked * probe).sum()
        first = torch.autograd.grad(value, inputs, create_graph=True)
        penalty = sum((g.double().square().sum() for g in first), torch.zeros(()))
        second = torch.autograd.grad(penalty, inputs, allow_unused=True, materialize_grads=True)
        found.append([*first, *second])
    for one, wanted in zip(*found, strict=True):
        assert one.shape == wanted.shape
        away = float((one.double() - wanted).detach().norm())
        assert away <= float(wanted.detach().norm()) * (3e-2 if dtype is torch.bfloat16 else 3e-5)


# Torch's own first jvp calls what it deprecates.
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_transforms_and_tangents_of_torch_go_through_its_layers() -> None:
    module = layer(16, "silu").eval()
    x, v = (images((3, 16, 4, 4), seed=seed, dtype=torch.float32) for seed in (1, 2))
    wanted = torch.autograd.functional.jvp(module.double(), x.double(), v.double())[1]
    module.float()
    assert_close(torch.func.jvp(module, (x,), (v,))[1], wanted, dtype=torch.float32)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(module(forward_ad.make_dual(x, v))).tangent
    assert_close(tangent, wanted, dtype=torch.float32)
    many = torch.func.vmap(module)(torch.stack([x, v]))
    assert_close(many, torch.stack([module(x), module(v)]), dtype=torch.float32)


class Net(nn.Module):
    def __init__(self, *, bias: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1, bias=bias)
        self.norm_act = layer(16, "relu")
        self.second = nn.Conv2d(16, 16, 3, padding=1, bias=bias)
        self.end = layer(16, "gelu", seed=1)

    def forward(self, x: Tensor) -> Tensor:
        one, x = self.norm_act.forward_and_fork(self.first(x))
        return self.end(self.second(one), x)


@every_type
@pytest.mark.parametrize("training", [True, False])
def test_a_compiled_network_keeps_the_kernel_and_its_derivatives(
    training: bool, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    plain = Net().to(memory_format=torch.channels_last).train(training)
    twin = copy.deepcopy(plain)
    # One graph: nothing of the kernel is left to Python.
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    x = torch.randn(16, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    results = []
    for network in (plain, compiled):
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
            y = network(x)
        assert y.dtype is dtype
        y.float().square().mean().backward()
        results.append(y.detach())
    assert_close(results[1], results[0], bits=7, dtype=dtype)
    for found, wanted in zip(twin.parameters(), plain.parameters(), strict=True):
        if float(wanted.grad.norm()) > 1e-4:  # type: ignore[union-attr]
            away = (found.grad - wanted.grad).norm() / wanted.grad.norm()  # type: ignore[operator,union-attr]
            assert float(away) < 0.05
    for found, wanted in zip(twin.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)

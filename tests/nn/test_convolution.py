"""Gradients of convolutions through tiles, against float64."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ravine.kernels.library import load_library
from ravine.models import build
from ravine.nn.convolution import Conv2d
from ravine.nn.norm_act import NormAct
from ravine.ops.epilogue_statistics import find_gradient_sums, find_moments, find_norm

library = load_library()
needs_tiles = pytest.mark.skipif(library is None or not library.has_tiles, reason="no AMX here")


def images(*shape: int, seed: int) -> Tensor:
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return drawn.bfloat16().contiguous(memory_format=torch.channels_last)


def run(layer: Conv2d, x: Tensor, dy_seed: int) -> tuple[Tensor, Tensor]:
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    dy = images(*y.shape, seed=dy_seed)
    y.backward(dy)
    return y.detach(), dy


@needs_tiles
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 7),
    channels=st.sampled_from([16, 48]),
    out=st.sampled_from([16, 32, 80]),
    height=st.integers(5, 17),
    width=st.integers(5, 17),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 3),
    bias=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_gradients_are_those_of_float64(
    batch: int, channels: int, out: int, height: int, width: int, kernel: int, stride: int,
    padding: int, bias: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    layer = Conv2d(channels, out, kernel, stride, padding, bias=bias)
    layer = layer.to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed).requires_grad_()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        y, dy = run(layer, x, seed + 1)
    finally:
        torch.set_num_threads(before)
    x64 = x.detach().double().requires_grad_()
    weight = layer.weight.detach().bfloat16().double().requires_grad_()
    bias64 = None if layer.bias is None else layer.bias.detach().bfloat16().double()
    y64 = F.conv2d(x64, weight, bias64, stride, padding)
    y64.backward(dy.double())
    torch.testing.assert_close(
        y.double(), y64.detach(), rtol=2**-7, atol=2e-3 * float(y64.detach().abs().max())
    )
    assert layer.weight.grad is not None
    assert weight.grad is not None
    scale = float(weight.grad.abs().max())
    # float32 sums: no rounding to bfloat16 on the way
    torch.testing.assert_close(
        layer.weight.grad.double(), weight.grad, rtol=1e-4, atol=1e-5 * scale
    )
    assert x.grad is not None
    assert x64.grad is not None
    torch.testing.assert_close(
        x.grad.double(), x64.grad, rtol=2**-7, atol=2e-3 * float(x64.grad.abs().max())
    )
    if layer.bias is not None:
        assert layer.bias.grad is not None
        wanted = dy.double().sum((0, 2, 3))
        torch.testing.assert_close(
            layer.bias.grad.double(), wanted, rtol=2**-7, atol=0.05 * float(wanted.abs().max())
        )


@needs_tiles
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 9),
    channels=st.sampled_from([32, 96]),
    out=st.sampled_from([32, 64]),
    height=st.integers(1, 19),
    width=st.integers(1, 19),
    adding=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_convolution_3x3_is_that_of_float64(
    batch: int, channels: int, out: int, height: int, width: int, adding: bool, threads: int,
    seed: int,
) -> None:  # fmt: skip
    layer = Conv2d(channels, out, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed).requires_grad_()
    added = images(batch, out, height, width, seed=seed + 1) if adding else None
    dy = images(batch, out, height, width, seed=seed + 2)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x, added)
        y.backward(dy)
    finally:
        torch.set_num_threads(before)
    assert "Convolve" in type(y.grad_fn).__name__
    x64 = x.detach().double().requires_grad_()
    weight = layer.weight.detach().bfloat16().double()
    y64 = F.conv2d(x64, weight, padding=1)
    y64.backward(dy.double())
    if added is not None:
        y64 = y64.detach() + added.double()
    assert x.grad is not None
    assert x64.grad is not None
    for found, wanted in ((y.detach(), y64.detach()), (x.grad, x64.grad)):
        assert found.is_contiguous(memory_format=torch.channels_last)
        # rounded once, to bfloat16
        torch.testing.assert_close(
            found.double(), wanted, rtol=2**-8, atol=1e-4 * float(wanted.abs().max())
        )


@needs_tiles
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 7),
    channels=st.sampled_from([16, 64]),
    out=st.sampled_from([16, 96]),
    height=st.integers(3, 13),
    width=st.integers(3, 13),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 3),
    relu=st.booleans(),
    beside=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_norm_before_a_convolution_has_the_gradients_of_float64(
    batch: int, channels: int, out: int, height: int, width: int, kernel: int, stride: int,
    relu: bool, beside: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    """The sums for the norm's gradients are made by the convolution, on its way back."""
    torch.manual_seed(seed)
    norm = NormAct(nn.BatchNorm2d(channels), nn.ReLU() if relu else nn.Identity())
    assert isinstance(norm.norm, nn.BatchNorm2d)
    nn.init.normal_(norm.norm.weight)
    nn.init.normal_(norm.norm.bias)
    layer = Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    layer = layer.to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed).requires_grad_()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        with torch.autocast("cpu", torch.bfloat16):
            active = norm(x)
            active.retain_grad()
            y, same = layer.beside(active) if beside else (layer(active), active)
        dy, more = images(*y.shape, seed=seed + 1), images(*x.shape, seed=seed + 2)
        torch.autograd.backward([y, same], [dy, more if beside else torch.zeros_like(more)])
    finally:
        torch.set_num_threads(before)
    assert active.grad is not None
    # Its own arithmetic from here: of the gradient as it was, rounded to bfloat16.
    x64, d64 = x.detach().double(), active.grad.double()
    weight, bias = norm.norm.weight.detach().double(), norm.norm.bias.detach().double()
    var, mean = torch.var_mean(x64, (0, 2, 3), correction=0, keepdim=True)
    normed = (x64 - mean) / (var + norm.norm.eps).sqrt()
    z = normed * weight[:, None, None] + bias[:, None, None]
    dz = torch.where(z > 0, d64, 0.0) if relu else d64
    sure = z.abs().amin((0, 2, 3)) > 1e-5  # rounding does not decide what the ReLU lets through
    for found, wanted in (
        (norm.norm.weight.grad, (dz * normed).sum((0, 2, 3))),
        (norm.norm.bias.grad, dz.sum((0, 2, 3))),
    ):
        assert found is not None
        scale = float(d64.abs().sum((0, 2, 3)).max())
        torch.testing.assert_close(found.double()[sure], wanted[sure], rtol=1e-4, atol=1e-5 * scale)
    wanted64 = F.conv_transpose2d(
        dy.double(), layer.weight.detach().bfloat16().double(), None, stride, kernel // 2,
        output_padding=[
            side - ((out_side - 1) * stride - 2 * (kernel // 2) + kernel)
            for side, out_side in zip(x.shape[2:], y.shape[2:], strict=True)
        ],
    ) + (more.double() if beside else 0.0)  # fmt: skip
    torch.testing.assert_close(d64, wanted64, rtol=2**-7, atol=4e-3 * float(wanted64.abs().max()))


@needs_tiles
def test_sums_of_gradients_are_left_and_hold_as_long_as_nobody_changes_the_gradient() -> None:
    norm = NormAct(nn.BatchNorm2d(32), nn.ReLU())
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x, dy = images(3, 32, 6, 6, seed=1), images(3, 32, 6, 6, seed=2)

    def gradients(change: str) -> tuple[bool, Tensor]:
        found = []

        def look(gradient: Tensor) -> Tensor | None:
            made = find_norm(active)
            assert made is not None
            if change == "doubled in place":
                gradient.mul_(2)
            found.append(find_gradient_sums(gradient, made.mean) is not None)
            return gradient * 2 if change == "another" else None

        norm.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            active = norm(x.clone().requires_grad_())
            active.register_hook(look)
            y = layer(active)
            if change == "used twice":
                y = y + layer(active)
        y.backward(dy)
        grad = norm.norm.weight.grad
        assert isinstance(grad, Tensor)
        return found[0], grad.clone()

    left, plain = gradients("none")
    assert left
    for change in ("doubled in place", "another", "used twice"):
        left, twice = gradients(change)
        assert left == (change == "another")
        torch.testing.assert_close(twice, 2 * plain, rtol=1e-2, atol=1e-2)


@needs_tiles
@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 7),
    channels=st.sampled_from([16, 64]),
    out=st.sampled_from([16, 96]),
    height=st.integers(3, 13),
    width=st.integers(3, 13),
    kernel=st.sampled_from([3, 5]),
    stride=st.integers(1, 3),
    relu=st.booleans(),
    summed=st.booleans(),
    training=st.booleans(),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_a_norm_inside_a_convolution_is_the_norm_before_it(
    batch: int, channels: int, out: int, height: int, width: int, kernel: int, stride: int,
    relu: bool, summed: bool, training: bool, threads: int, seed: int,
) -> None:  # fmt: skip
    """Bit for bit, there and back; the gradient of the norm's input may be added in other steps."""
    torch.manual_seed(seed)
    first = Conv2d(channels, channels, 3, padding=1, bias=False)
    norm = NormAct(nn.BatchNorm2d(channels), nn.ReLU() if relu else nn.Identity())
    assert isinstance(norm.norm, nn.BatchNorm2d)
    nn.init.normal_(norm.norm.weight)
    nn.init.normal_(norm.norm.bias)
    second = Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    inside = nn.ModuleList([first, norm, second]).to(memory_format=torch.channels_last)
    inside.train(training)
    before = copy.deepcopy(inside)
    x = images(batch, channels, height, width, seed=seed)
    size = [(side - 1) // stride + 1 for side in (height, width)]
    added = images(batch, out, *size, seed=seed + 1) if summed else None
    dy = images(batch, out, *size, seed=seed + 2)
    more = images(*x.shape, seed=seed + 3)
    results = []
    threads_before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        for layers, goes_inside in ((inside, True), (before, False)):
            one, middle, two = layers
            start = x.clone(memory_format=torch.channels_last).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                h = one(start)
                if goes_inside:
                    y, h = two.of_normed(middle, h, added)
                    assert "Normed" in type(y.grad_fn).__name__
                else:
                    active, h = middle.beside(h)
                    y = two(active, added)
            torch.autograd.backward([y, h], [dy, more])
            state = [*layers.parameters(), *layers.buffers()]
            results.append([y, start.grad, *(p.grad for p in layers.parameters()), *state])
    finally:
        torch.set_num_threads(threads_before)
    for found, wanted in zip(*results, strict=True):
        assert torch.equal(found, wanted)


@needs_tiles
def test_what_waits_for_a_norm_sees_it_and_others_may_not_be_normalised_inside() -> None:
    first, second = (Conv2d(32, 32, 3, padding=1, bias=False) for _ in range(2))
    x = images(2, 32, 6, 6, seed=1)

    def goes_inside(norm: NormAct, x: Tensor) -> bool:
        with torch.autocast("cpu", torch.bfloat16):
            y, _ = second.of_normed(norm, first(x))
            with torch.no_grad():
                wanted = second(norm(first(x)))
        torch.testing.assert_close(y.float(), wanted.float(), rtol=2e-2, atol=2e-2)
        return "Normed" in type(y.grad_fn).__name__

    first.to(memory_format=torch.channels_last)
    second.to(memory_format=torch.channels_last)
    assert goes_inside(NormAct(nn.BatchNorm2d(32), nn.ReLU()), x)
    assert not goes_inside(NormAct(nn.BatchNorm2d(32), nn.GELU()), x)
    assert not goes_inside(NormAct(nn.GroupNorm(4, 32), nn.ReLU()), x)
    seen: list[str] = []
    for place in ("norm", "act", "itself"):
        norm = NormAct(nn.BatchNorm2d(32), nn.ReLU())
        hooked = {"norm": norm.norm, "act": norm.act, "itself": norm}[place]
        hooked.register_forward_hook(lambda *_, place=place: seen.append(place))
        assert not goes_inside(norm, x)
    assert set(seen) == {"norm", "act", "itself"}


def test_images_without_a_batch_are_torchs_beside_and_after_a_norm() -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False)
    norm = NormAct(nn.Identity(), nn.ReLU())
    x = torch.randn(32, 6, 6).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        wanted = nn.Conv2d.forward(layer, x)
        assert torch.equal(layer.beside(x)[0], wanted)
        wanted = nn.Conv2d.forward(layer, x.relu())
        assert torch.equal(layer.of_normed(norm, x)[0], wanted)


@needs_tiles
def test_a_hook_on_a_convolution_beside_is_called() -> None:
    layer = Conv2d(32, 64, 1, 2, bias=False).to(memory_format=torch.channels_last)
    x = images(3, 32, 6, 6, seed=1)
    with torch.autocast("cpu", torch.bfloat16):
        alone, _ = layer.beside(x)
        seen: list[Tensor] = []
        layer.register_forward_hook(lambda _layer, _inputs, y: seen.append(y))
        hooked, same = layer.beside(x)
    assert same is x
    assert torch.equal(seen[0], alone)
    assert torch.equal(hooked, alone)


@needs_tiles
def test_a_convolution_does_not_depend_on_threads_or_neighbours() -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(50, 32, 9, 7, seed=1)
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                found.append(layer(x))
                single = layer(x[17:18])
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(found[0], other) for other in found[1:])
    assert torch.equal(single[0], found[0][17])


@needs_tiles
def test_nan_reaches_its_neighbours_and_nobody_else() -> None:
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(3, 32, 6, 6, seed=1)
    x[1, 5, 0, 5] = float("nan")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        broken = layer(x).isnan()
    assert broken[1, :, :2, 4:].all()
    assert broken.sum() == 32 * 4


def test_what_is_added_is_added_and_has_its_gradient() -> None:
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x, added = images(3, 32, 6, 6, seed=1), images(3, 32, 6, 6, seed=2).requires_grad_()
    kept = added.detach().clone()
    with torch.autocast("cpu", torch.bfloat16):
        found, alone = layer(x, added), layer(x)
    torch.testing.assert_close(found.float(), alone.float() + kept.float(), rtol=2e-2, atol=2e-2)
    assert torch.equal(added.detach(), kept)
    dy = images(3, 32, 6, 6, seed=3)
    found.backward(dy)
    assert added.grad is not None
    assert torch.equal(added.grad, dy)


@pytest.mark.parametrize(
    "options", [{"groups": 4}, {"dilation": 2}, {"padding_mode": "reflect", "padding": 1}]
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
            monkeypatch.setattr("ravine.nn.convolution.tiles_are_here", lambda: False)
            monkeypatch.setattr("ravine.ops.fused_norm.load_library", lambda: None)
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


@needs_tiles
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


@needs_tiles
@pytest.mark.parametrize("whole", [True, False])
def test_the_operators_keep_torchs_promises(whole: bool) -> None:
    x = images(2, 32, 6, 7, seed=0).requires_grad_()
    weight = torch.randn(32, 32, 3, 3).contiguous(memory_format=torch.channels_last)
    added = images(2, 32, 6, 7, seed=1).requires_grad_()
    bias = None if whole else torch.randn(32).bfloat16().requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(
        torch.ops.ravine.convolution.default,
        (x, weight.requires_grad_(), bias, added, 1, 1, whole),
        test_utils=checks,
    )


@needs_tiles
@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 40),
    channels=st.sampled_from([32, 96]),
    out=st.sampled_from([32, 64]),
    height=st.integers(1, 9),
    width=st.integers(1, 40),
    summed=st.booleans(),
    stride=st.integers(1, 2),
    seed=st.integers(0, 1000),
)
def test_moments_are_the_sums_of_each_image_whatever_the_threads(
    batch: int, channels: int, out: int, height: int, width: int, summed: bool, stride: int,
    seed: int,
) -> None:  # fmt: skip
    layer = Conv2d(channels, out, 3, stride, padding=1, bias=False)
    layer = layer.to(memory_format=torch.channels_last)
    x = images(batch, channels, height, width, seed=seed)
    size = (-(-height // stride), -(-width // stride))
    added = images(batch, out, *size, seed=seed + 1) if summed else None
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        try:
            torch.set_num_threads(threads)
            with torch.autocast("cpu", torch.bfloat16):
                y = layer(x, added)
        finally:
            torch.set_num_threads(before)
        moments = find_moments(y)
        assert moments is not None
        found.append(moments)
    y64 = y.detach().double()
    wanted = torch.stack([y64.sum((2, 3)), y64.square().sum((2, 3))], 1)
    torch.testing.assert_close(found[0].double(), wanted, rtol=1e-4, atol=1e-3)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@needs_tiles
def test_a_norm_takes_the_sums_that_the_convolution_left_unless_its_result_has_changed() -> None:
    layer = Conv2d(32, 64, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    x = images(20, 32, 9, 7, seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    alone = y.detach().clone(memory_format=torch.channels_last)
    assert find_moments(y) is not None
    assert find_moments(alone) is None
    norms = [NormAct(nn.BatchNorm2d(64), nn.ReLU()) for _ in range(2)]
    torch.testing.assert_close(norms[0](y), norms[1](alone), rtol=2**-7, atol=1e-2)
    for name in ("running_mean", "running_var"):
        left, measured = (getattr(norm.norm, name) for norm in norms)
        torch.testing.assert_close(left, measured, rtol=1e-5, atol=1e-6)
    with torch.no_grad():
        y.add_(1)
    assert find_moments(y) is None
    norms[0](y)
    moved = norms[0].norm.running_mean - 0.9 * norms[1].norm.running_mean  # type: ignore[operator]
    wanted = 0.1 * y.detach().double().mean((0, 2, 3))
    torch.testing.assert_close(moved.double(), wanted, rtol=1e-4, atol=1e-5)


@needs_tiles
def test_no_sums_are_made_where_nothing_learns() -> None:
    layer = Conv2d(32, 32, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert find_moments(layer(images(2, 32, 4, 4, seed=0))) is None

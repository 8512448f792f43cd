import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.nn import init_
from ravine.nn.head import head_of
from ravine.nn.init import fans


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(st.sampled_from([1, 2, 4]), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_fans_are_those_of_the_definition(groups: int, a: int, b: int, kernel: int) -> None:
    layer = nn.Conv2d(a * groups, b * groups, kernel, groups=groups)
    assert fans(layer) == (a * kernel * kernel, b * kernel * kernel)
    turned = nn.ConvTranspose2d(a * groups, b * groups, kernel, groups=groups)
    assert fans(turned) == (a * kernel * kernel, b * kernel * kernel)


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [
        ("xavier", lambda i, o: 2 / (i + o)),
        ("xavier-normal", lambda i, o: 2 / (i + o)),
        ("he", lambda i, o: 2 / i),
        ("he-out", lambda i, o: 2 / o),
    ],
)
def test_the_variance_of_the_weights_is_that_of_the_scheme(scheme, variance) -> None:  # type: ignore[no-untyped-def]
    model = nn.Sequential(nn.Conv2d(64, 128, 3, groups=2), nn.Flatten(), nn.Linear(10, 2))
    init_(model, scheme, generator=_generator())
    weight = model[0].weight.detach()
    assert float(weight.var()) == pytest.approx(variance(32 * 9, 64 * 9), rel=0.03)
    if scheme == "xavier":
        bound = math.sqrt(6 / (32 * 9 + 64 * 9))
        assert bound * 0.99 < float(weight.abs().max()) <= bound
    assert torch.equal(model[0].bias, torch.zeros(128))


def test_orthogonal_rows_are_orthogonal_with_the_gain_of_relu() -> None:
    model = nn.Sequential(nn.Linear(50, 20), nn.Linear(20, 2))
    init_(model, "orthogonal", generator=_generator())
    product = model[0].weight @ model[0].weight.T
    torch.testing.assert_close(product, 2 * torch.eye(20), rtol=1e-4, atol=1e-4)


def test_lsuv_gives_every_layer_an_output_variance_of_one_and_keeps_buffers() -> None:
    torch.manual_seed(0)
    model = build("resnet-cifar-8", classes=3, image_size=16)
    batch = torch.randn(32, 3, 16, 16) * 3
    buffers = [buffer.clone() for buffer in model.buffers()]
    init_(model, "lsuv", generator=_generator(), batch=batch)
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    seen = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(lambda _m, _i, out: seen.append(float(out.detach().var())))
    model.train()(batch)
    assert seen == pytest.approx([1.0] * len(seen), abs=0.03)


@pytest.mark.parametrize("scheme", ["auto", "xavier", "xavier-normal", "he", "he-out"])
def test_the_head_is_drawn_by_fan_in_whatever_the_scheme(scheme: str) -> None:
    model = nn.Sequential(nn.Linear(30, 400), nn.ReLU(), nn.Linear(400, 10))
    init_(model, scheme, generator=_generator())
    assert float(model[2].weight.detach().var()) == pytest.approx(1 / 400, rel=0.1)


def test_an_orthogonal_head_has_rows_of_length_one() -> None:
    model = nn.Sequential(nn.Linear(50, 20), nn.Linear(20, 2))
    init_(model, "orthogonal", generator=_generator())
    product = model[1].weight @ model[1].weight.T
    torch.testing.assert_close(product, torch.eye(2), rtol=1e-4, atol=1e-4)


class _HeadFirst(nn.Module):
    """Registers its head before its body, as some networks do."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(64, 5, 1)
        self.norm = nn.BatchNorm2d(3)
        self.body = nn.Conv2d(3, 64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(self.norm(x)).relu()).mean((2, 3))


def test_with_images_the_head_is_the_layer_that_is_called_last() -> None:
    model = _HeadFirst().train()
    assert head_of(model) is model.body
    assert head_of(model, torch.randn(2, 3, 8, 8)) is model.head
    assert model.training
    assert model.norm.training
    assert int(model.norm.num_batches_tracked) == 0
    init_(model, "he-out", generator=_generator(), batch=torch.randn(2, 3, 8, 8))
    assert float(model.head.weight.detach().var()) == pytest.approx(1 / 64, rel=0.2)
    assert float(model.body.weight.detach().var()) == pytest.approx(2 / (64 * 9), rel=0.2)
    assert head_of(nn.ReLU()) is None


def test_lsuv_without_a_batch_and_an_unknown_scheme_are_refused() -> None:
    with pytest.raises(SettingError, match="give it a batch"):
        init_(nn.Linear(2, 2), "lsuv")
    with pytest.raises(SettingError, match="did you mean 'xavier"):
        init_(nn.Linear(2, 2), "xavir")


def test_the_default_follows_the_activation() -> None:
    def variance(activation: str) -> float:
        model = nn.Sequential(nn.Linear(100, 400), nn.Linear(400, 2))
        init_(model, activation=activation, generator=_generator())  # type: ignore[arg-type]
        return float(model[0].weight.detach().var())

    assert variance("relu") == pytest.approx(2 / 400, rel=0.05)
    assert variance("tanh") == pytest.approx(2 / 500, rel=0.05)


def test_zero_init_makes_residual_blocks_start_as_their_shortcut() -> None:
    for name in ("wrn-10-1", "resnet-18", "resnet-cifar-8"):
        model = build(name, classes=3, image_size=16)
        init_(model, zero_residual=True, generator=_generator())
        ends = [m for m in model.modules() if getattr(m, "ends_residual_branch", False)]
        assert ends
        assert all(float(m.weight.detach().abs().max()) == 0 for m in ends)


def test_equal_generators_give_equal_weights() -> None:
    one, two = (build("wrn-10-1", classes=3) for _ in range(2))
    for model in (one, two):
        init_(model, generator=_generator(4))
    for a, b in zip(one.parameters(), two.parameters(), strict=True):
        assert torch.equal(a, b)

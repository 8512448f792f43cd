"""Predicted against measured variance; the network is left as it was."""

import copy
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.errors import SettingError
from ravine.models import build
from ravine.nn import init_
from ravine.propagation import VarianceProfile, variance_profile

LABELS = torch.arange(32) % 10


def loss(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, LABELS[: len(logits)])


def loss_of_many(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits)) % 10)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(channels: int = 1, size: int = 28) -> Tensor:
    """Smooth pictures, as photographs are."""
    noise = torch.randn(32, channels, size // 4, size // 4, generator=chance())
    return F.interpolate(noise, size=(size, size), mode="bilinear")


def error(profile: VarianceProfile, direction: str) -> list[float]:
    pairs = [
        (getattr(row, direction), getattr(row, f"{direction}_predicted")) for row in profile.layers
    ]
    return [math.log(p / m) for m, p in pairs if m and p]


@pytest.mark.parametrize(("init", "forward"), [("he", 1.0), ("xavier", 0.5)])
def test_a_wide_plain_network_keeps_or_halves_its_variance(init: str, forward: float) -> None:
    layers: list[nn.Module] = []
    for _ in range(8):
        layers += [nn.Linear(512, 512), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(512, 10))
    init_(model, init, generator=chance())
    profile = variance_profile(model, torch.randn(32, 512, generator=chance(1)), loss)

    assert profile.factor() == pytest.approx(forward, rel=0.1)
    assert profile.factor(predicted=True) == pytest.approx(forward, rel=0.1)
    assert profile.factor("backward", predicted=True) == pytest.approx(forward, rel=0.1)
    assert max(map(abs, error(profile, "forward") + error(profile, "backward"))) < 0.3


def test_a_deep_trunk_that_was_rectified_at_each_sum_is_predicted() -> None:
    """It is skew: as a normal variable, the gradient's gain was off by 1.2 in every other layer."""
    model = build("resnet-cifar-44", classes=10, channels=1, image_size=28)
    init_(model, "he", generator=chance())
    rows = variance_profile(model, images(), loss).weighted
    logs = [math.log(r.backward_predicted / r.backward) for r in rows if r.backward_predicted]
    gains = [abs(b - a) for a, b in pairwise(logs)]

    assert sum(gain < math.log(1.25) for gain in gains) >= 0.95 * len(gains)


@pytest.mark.parametrize("init", ["xavier", "he"])
@pytest.mark.parametrize("name", ["alexnet", "resnet-cifar-20", "wrn-16-2"])
def test_gains_agree_from_layer_to_layer(name: str, init: str) -> None:
    model = build(name, classes=10, channels=1, image_size=28)
    init_(model, init, generator=chance())
    profile = variance_profile(model, images(), loss)

    assert all(row.forward_predicted is not None for row in profile.layers)
    for direction in ("forward", "backward"):
        errors = error(profile, direction)
        gains = [abs(b - a) < math.log(1.25) for a, b in pairwise(errors)]
        assert sum(gains) / len(gains) > 0.85
        assert sorted(map(abs, errors))[len(errors) // 2] < 0.5


def test_measurements_lie_in_the_band_of_finite_width() -> None:
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Linear(50, 50), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(50, 10))
    inputs = torch.randn(40, 50, generator=chance(1))
    outside = total = 0
    for draw in range(20):
        init_(model, "he", generator=chance(draw))
        rows = variance_profile(model, inputs, loss_of_many).weighted
        # Six layers with 5/50 each (Hanin, Nica 2018), and the batch's 2/40.
        assert rows[5].forward_band == pytest.approx(math.exp(1.96 * math.sqrt(6 * 0.1 + 0.05)))
        assert rows[0].backward_band == pytest.approx(math.exp(1.96 * math.sqrt(6 * 0.1 + 0.05)))
        for way in ("forward", "backward"):
            for row in rows[:-1]:
                measured, predicted = getattr(row, way), getattr(row, f"{way}_predicted")
                half = math.log(getattr(row, f"{way}_band"))
                outside += abs(math.log(measured / predicted)) > half
                total += 1
    assert outside <= 0.05 * total


def test_the_batchs_own_statistics_end_the_doubt_about_what_came_before() -> None:
    model = nn.Sequential(
        nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 50), nn.BatchNorm1d(50), nn.Linear(50, 10)
    )
    rows = variance_profile(model, torch.randn(40, 50, generator=chance(1)), loss_of_many).weighted

    assert rows[1].forward_band == pytest.approx(math.exp(1.96 * math.sqrt(0.2 + 0.05)))
    assert rows[2].forward_band == pytest.approx(math.exp(1.96 * math.sqrt(0.5 + 0.05)))


def test_batch_norm_without_skips_makes_gradients_grow_by_the_known_factor() -> None:
    layers: list[nn.Module] = []
    for _ in range(10):
        layers += [nn.Linear(256, 256, bias=False), nn.BatchNorm1d(256), nn.ReLU()]
    model = nn.Sequential(*layers, nn.Linear(256, 10))
    init_(model, "he", generator=chance())
    x, labels = torch.randn(256, 256, generator=chance(1)), torch.arange(256) % 10
    profile = variance_profile(model, x, lambda logits: F.cross_entropy(logits, labels))

    # Yang et al. 2019: π/(π−1), for infinite width.
    known = math.pi / (math.pi - 1)
    assert profile.factor("backward", predicted=True) == pytest.approx(known, rel=0.1)
    assert profile.factor("backward") == pytest.approx(known, rel=0.1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Conv2d(4, 64, 3, stride=2, padding=1, groups=2),
        lambda: nn.Sequential(nn.Conv2d(4, 64, 3), nn.GroupNorm(4, 64), nn.GELU()),
        lambda: nn.Sequential(nn.Conv2d(4, 64, 3), nn.Tanh(), nn.AvgPool2d(2)),
        lambda: nn.Sequential(nn.Conv2d(4, 64, 3), nn.LeakyReLU(0.1), nn.MaxPool2d(3, 2)),
        lambda: nn.Sequential(nn.Conv2d(4, 64, 3), nn.ReLU(), nn.LocalResponseNorm(5, alpha=0.5)),
        lambda: nn.Sequential(nn.Conv2d(4, 64, 3), nn.Sigmoid(), nn.Dropout(0.4)),
        lambda: nn.Sequential(nn.Conv2d(4, 64, 3), nn.LayerNorm([64, 26, 26]), nn.ELU()),
    ],
)
def test_each_kind_of_layer_is_predicted(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    body = make()
    model = nn.Sequential(body, nn.Flatten(), nn.LazyLinear(10))
    x = images(4)
    model(x)
    profile = variance_profile(model, x, loss)

    assert all(row.forward_predicted is not None for row in profile.layers)
    assert max(map(abs, error(profile, "forward")[:-1])) < 0.25
    assert max(map(abs, error(profile, "backward"))) < 0.35


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(256, 256), nn.Linear(256, 256)
        self.head = nn.Linear(512, 10)

    def forward(self, x: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
        a = F.relu(self.first(x))
        b = torch.cat([scale * a + self.second(a), a], dim=1)
        return {"logits": self.head(b)}


def test_functional_calls_sums_joins_and_dict_outputs_are_seen() -> None:
    torch.manual_seed(0)
    x = torch.randn(32, 256, generator=chance(1))
    profile = variance_profile(Branches(), {"x": x, "scale": 2.0}, lambda out: loss(out["logits"]))
    kinds = [row.kind for row in profile.layers]

    assert {"relu", "add", "cat"} <= set(kinds)
    assert all(row.forward_predicted is not None for row in profile.layers)
    assert max(map(abs, error(profile, "forward") + error(profile, "backward"))) < 0.25


class WithItself(nn.Module):
    """Adds a signal to itself, or multiplies it by itself."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.join = join

    def forward(self, x: Tensor) -> Tensor:
        return self.join(x, x)


@pytest.mark.parametrize("join", [torch.add, torch.mul])
def test_a_signal_joined_with_itself_is_measured(join: Callable[[Tensor, Tensor], Tensor]) -> None:
    model = nn.Sequential(nn.Linear(20, 30), WithItself(join), nn.Linear(30, 10))
    profile = variance_profile(model, torch.randn(32, 20, generator=chance()), loss)

    first, joined, last = profile.layers
    assert first.forward_predicted is not None
    assert joined.forward_predicted is None
    assert last.forward_predicted is not None


class NormOfItsOwnShape(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:])


def test_a_layer_norm_over_a_shape_that_is_read_from_its_input_is_predicted() -> None:
    first, last = nn.Linear(20, 30), nn.Linear(30, 10)
    x = torch.randn(32, 20, generator=chance())
    read = variance_profile(nn.Sequential(first, NormOfItsOwnShape(), last), x, loss)
    given = variance_profile(
        nn.Sequential(first, nn.LayerNorm(30, elementwise_affine=False), last), x, loss
    )

    assert [a.forward_predicted for a in read.layers] == [b.forward_predicted for b in given.layers]


class Sorted(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sort(dim=1)[0]


def test_an_unknown_layer_is_measured_and_the_rest_goes_on() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(128, 128), Sorted(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    profile = variance_profile(model, torch.randn(32, 128, generator=chance(1)), loss)
    predicted = [row.forward_predicted is not None for row in profile.layers]

    assert predicted == [True, False, True, True, True]
    assert max(map(abs, error(profile, "forward"))) < 0.3
    assert profile.layers[0].backward is not None


def test_layers_that_run_twice_are_two_rows() -> None:
    torch.manual_seed(0)
    shared = nn.Linear(64, 64)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.ReLU(), nn.Linear(64, 10))
    profile = variance_profile(model, torch.randn(32, 64, generator=chance(1)), loss)

    assert len(profile.weighted) == 3


def test_everything_is_left_bitwise_as_it_was() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(), nn.Flatten(),
        nn.Linear(4 * 26 * 26, 10),
    )  # fmt: skip
    model[1].eval()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    before = copy.deepcopy(model.state_dict())
    gradients = [p.grad for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    random_state = torch.get_rng_state()
    variance_profile(model, images(), loss)

    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert next(p.grad for p in model.parameters()) is gradients[0]
    assert all(p.grad is None for p in list(model.parameters())[1:])
    assert torch.equal(model[0].weight.grad, torch.ones_like(model[0].weight))
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("model", "loss_of", "says"),
    [
        (nn.ReLU(), loss, "has no parameters that learn"),
        (nn.Linear(3, 10), loss, "the model raises on this batch: RuntimeError"),
        (nn.Linear(8, 10), lambda out: out, "loss must return one number"),
    ],
)
def test_what_cannot_run_is_refused_in_a_line(
    model: nn.Module, loss_of: Callable[[Tensor], Tensor], says: str
) -> None:
    with pytest.raises(SettingError, match=says):
        variance_profile(model, torch.randn(32, 8), loss_of)

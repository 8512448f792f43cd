"""Surfaces: exact on a known quadratic, complete on real networks, and the model unchanged."""

import itertools
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ravine.core.errors import RunError, SettingError
from ravine.core.seeds import generator_for
from ravine.landscapes import FixedBatches, Surface, landscape, random_direction
from ravine.landscapes.refine import coarse_nodes, interpolate, next_nodes


class Quadratic(nn.Module):
    """Loss ½ wᵀAw + c of its weights, whatever the input."""

    def __init__(self, size: int = 6) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        root = torch.randn(size, size, generator=generator, dtype=torch.float64)
        self.a = root @ root.T + torch.eye(size, dtype=torch.float64)
        self.weight = nn.Parameter(
            torch.randn(2, size // 2, generator=generator, dtype=torch.float64)
        )

    def forward(self, x: Tensor) -> Tensor:
        w = self.weight.reshape(-1)
        return (0.5 * w @ self.a @ w + 0.25).expand(len(x))


class Convolutional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.5)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.drop(self.norm(self.conv(x)).relu().mean((2, 3))))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(4, 5), nn.Linear(3, 5)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.tanh(self.left(left)) + self.right(right)


def identity(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs


def each_image(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def images(count: int = 48, batch: int = 16) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(count, 1, 8, 8, generator=generator)
    y = (x.mean((1, 2, 3)) > 0).long() + (x[:, 0, 0, 0] > 1).long()
    return list(zip(x.split(batch), y.split(batch), strict=True))


def trained() -> Convolutional:
    torch.manual_seed(0)
    model = Convolutional()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(30):
        for x, y in images():
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


one_batch = [(torch.zeros(3, 1), torch.zeros(3))]


def test_a_quadratic_is_exact_on_a_grid_that_is_not_square() -> None:
    model = Quadratic()
    w = model.weight.detach().clone().reshape(-1)
    surface = landscape(model, identity, one_batch, x=(0, 1, 7), y=(-0.5, 2, 4), seed=5)

    generator = generator_for("landscape", seed=5)
    first = random_direction(model, generator)
    second = random_direction(model, generator, orthogonal_to=first)
    expected = np.empty((4, 7))
    for row, b in enumerate(np.linspace(-0.5, 2, 4)):
        for column, a in enumerate(np.linspace(0, 1, 7)):
            v = w + a * first[0].reshape(-1) + b * second[0].reshape(-1)
            expected[row, column] = 0.5 * v @ model.a @ v + 0.25
    assert surface.loss.shape == (4, 7)
    np.testing.assert_allclose(surface.loss, expected, rtol=1e-12)
    assert surface.roughness["non_convex"] == 0
    near = expected[np.hypot(*np.meshgrid(surface.x, surface.y)) <= 1]
    assert surface.roughness["log_range"] == pytest.approx(np.log10(near.max() / near.min()))


def state_of(model: nn.Module) -> list[Tensor]:
    return [t.detach().clone() for t in model.state_dict().values()]


@pytest.mark.parametrize("policy", ["running", "batch", "re-estimated"])
def test_nothing_of_the_model_is_changed(policy: str) -> None:
    model = trained()
    model.train()
    model.norm.eval()
    model.conv.weight.requires_grad_(False)
    before, random = state_of(model), torch.get_rng_state()
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]

    surface = landscape(model, each_image, images(), nodes=5, policy=policy)

    assert all(torch.equal(a, b) for a, b in zip(before, state_of(model), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert model.training
    assert not model.norm.training
    assert [p.requires_grad for p in model.parameters()] == [False] + [True] * 5
    assert all(
        torch.equal(a, p.grad)
        for a, p in zip(grads, model.parameters(), strict=True)
        if a is not None
    )
    assert surface.evaluated.all()
    assert np.isfinite(surface.loss).all()
    assert np.isfinite(surface.standard_error).all()


def test_the_model_is_restored_after_an_error_in_the_middle() -> None:
    model = trained()
    before = state_of(model)
    calls = 0

    def fails(outputs: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls > 20:
            raise KeyboardInterrupt
        return each_image(outputs, targets)

    with pytest.raises(KeyboardInterrupt):
        landscape(model, fails, images(), nodes=5)
    assert all(torch.equal(a, b) for a, b in zip(before, state_of(model), strict=True))


def test_the_centre_has_the_loss_and_standard_error_of_a_plain_evaluation() -> None:
    model = trained().eval()
    surface = landscape(model, each_image, images(), nodes=5)

    with torch.no_grad():
        values = torch.cat([each_image(model(x), y) for x, y in images()]).double()
    assert surface.loss[2, 2] == pytest.approx(values.mean().item(), rel=1e-6)
    error = values.std() / len(values) ** 0.5
    assert surface.standard_error[2, 2] == pytest.approx(error.item(), rel=1e-6)


def test_policies_differ_away_from_the_centre() -> None:
    model = trained()
    found = {
        policy: landscape(model, each_image, images(), along="line", nodes=5, policy=policy).loss
        for policy in ("running", "batch", "re-estimated")
    }

    assert abs(found["running"] - found["batch"]).max() > 0.01
    assert abs(found["re-estimated"] - found["batch"]).max() > 1e-6


def test_several_inputs_and_a_mean_loss() -> None:
    torch.manual_seed(0)
    model = TwoInputs()
    batches = [(torch.randn(8, 4), torch.randn(8, 3), torch.randn(8, 5)) for _ in range(3)]
    surface = landscape(model, F.mse_loss, batches, nodes=5)

    expected = np.mean([F.mse_loss(model(a, b), c).item() for a, b, c in batches])
    assert surface.loss[2, 2] == pytest.approx(expected, rel=1e-6)
    by_name = [({"left": a, "right": b}, c) for a, b, c in batches]
    np.testing.assert_array_equal(landscape(model, F.mse_loss, by_name, nodes=5).loss, surface.loss)


def test_a_loss_that_is_not_finite_is_a_hole() -> None:
    model = Quadratic()

    def breaks(outputs: Tensor, targets: Tensor) -> Tensor:
        return torch.where(outputs > 3 * centre, torch.inf, outputs)

    centre = model(torch.zeros(1, 1)).item()
    surface = landscape(model, breaks, one_batch, x=(-2, 2, 9), y=(-2, 2, 9))

    assert np.isnan(surface.height).any()
    assert np.isfinite(surface.height[4, 4])
    assert surface.evaluated.all()


def test_a_budget_is_kept_saved_and_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that advances by 3 ms whenever it is read, however busy the machine is."""
    ticks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: 0.003 * next(ticks))
    for module in ("deadline", "sweep", "starting_values"):
        monkeypatch.setattr(sys.modules[f"ravine.landscapes.{module}"], "time", clock)
    model = trained()
    out = tmp_path / "surface.npz"
    first = landscape(model, each_image, images(), budget=0.6, out=out)
    again = landscape(model, each_image, images(), budget=0.6, out=out)

    assert 25 <= first.evaluated.sum() < again.evaluated.sum() < 2601
    assert 0.5 < first.about["seconds"] < 0.7
    assert 1.0 < again.about["seconds"] < 1.4
    assert np.array_equal(again.loss[first.evaluated], first.loss[first.evaluated])
    assert np.isfinite(first.height).all()
    loaded = Surface.load(out)
    assert np.array_equal(loaded.height, again.height)
    assert loaded.about["batches"] == first.about["batches"]


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (32, {}, r"other batches \(they must not differ from call to call\)"),
        (48, {"nodes": 7}, "a surface of nodes 5, not 7: ask for the same again"),
        (48, {"x": (0, 1, 5)}, "x automatic, not 0:1:5"),
        (48, {"policy": "batch"}, "policy running, not batch.*delete it.*another --out"),
    ],
)
def test_other_settings_than_before_are_refused_and_named(
    tmp_path: Path, count: int, options: dict, message: str
) -> None:
    model = trained()
    out = tmp_path / "surface.npz"
    landscape(model, each_image, images(), nodes=5, out=out)

    with pytest.raises(SettingError, match=message):
        landscape(model, each_image, images(count), **({"nodes": 5} | options), out=out)


def test_a_refined_surface_is_close_to_the_full_one() -> None:
    model = trained()
    full = landscape(model, each_image, images(), nodes=31)
    loss, known = np.full((31, 31), np.nan), np.zeros((31, 31), bool)
    nodes = coarse_nodes(31, 31, 9)
    while True:
        for node in nodes:
            loss[node], known[node] = full.loss[node], True
        left = 31 * 31 // 8 - known.sum()
        if left <= 0:
            break
        nodes = next_nodes(loss, known, min(12, int(left)))
    logs = np.log(full.loss)
    error = np.log(interpolate(loss, known)) - logs
    assert np.sqrt((error**2).mean()) < 0.02 * logs.std()


def test_between_models_the_ends_are_the_models() -> None:
    first, second, third = trained(), Convolutional(), Convolutional()

    def own(model: nn.Module) -> float:
        model.eval()
        return float(np.mean([F.cross_entropy(model(x), y).item() for x, y in images()]))

    line = landscape(
        first, each_image, images(), along="models", models=[second], x=(0, 1, 5), policy="batch"
    )
    path = landscape(
        first,
        each_image,
        images(),
        along="models",
        models=[second, third],
        x=(0, 2, 5),
        policy="batch",
    )
    assert line.loss.shape == path.loss.shape == (1, 5)
    assert path.loss[0, 0] == line.loss[0, 0]
    assert path.loss[0, 2] == pytest.approx(line.loss[0, 4], rel=1e-6)
    same = landscape(
        third, each_image, images(), along="models", models=[second], x=(0, 1, 2), policy="batch"
    )
    assert path.loss[0, 4] == pytest.approx(same.loss[0, 0], rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"along": "randon"}, "did you mean 'random'"),
        ({"policy": "frozen"}, "unknown policy 'frozen'"),
        ({"budget": 0.0001}, "is too short: it leaves 0 nodes"),
        ({"x": (1.0, -1.0, 5)}, "from < to"),
        ({"nodes": 3}, "nodes must be at least 5, got 3"),
        ({"convexity": 1}, "convexity must be 0 or at least 2 nodes a side, got 1"),
        ({"polciy": "batch"}, "unknown setting 'polciy'; did you mean 'policy'"),
        ({"along": "trajectory"}, "at least 2 points before the last, got 0"),
        ({"along": "models"}, "one or two other models, got 0"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(options: dict, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        landscape(trained(), each_image, images(), **options)


def test_a_loss_that_is_nan_at_the_centre_is_refused() -> None:
    with pytest.raises(SettingError, match="the loss at the centre is nan"):
        landscape(Quadratic(), lambda o, t: o * torch.nan, one_batch, nodes=5)


def test_no_batches_are_refused() -> None:
    with pytest.raises(SettingError, match="no batches"):
        landscape(Quadratic(), identity, [], nodes=5)


def test_a_torn_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.npz").write_bytes(b"PK\x03\x04torn")

    with pytest.raises(RunError, match="is torn or holds no surface"):
        Surface.load(tmp_path / "s.npz")


def test_batches_by_name_have_one_digest_in_any_order() -> None:
    device, (a, b, c) = torch.device("cpu"), torch.arange(12.0).reshape(3, 4)
    first, second, other = (
        FixedBatches([(inputs, c)], most=None, device=device).digest
        for inputs in ({"a": a, "b": b}, {"b": b, "a": a}, {"a": b, "b": a})
    )

    assert first == second != other


def test_noise_that_two_passes_do_not_show_is_noticed_at_the_next() -> None:
    class Rarely(nn.Module):
        """Nearly the same at its third pass, and clearly not at its fourth."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.passes = nn.Linear(4, 3), 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            return self.layer(x) * (1 + (0.0, 0.0, 1e-6, 0.5)[min(self.passes - 1, 3)])

    batches = [(torch.randn(8, 4), torch.arange(8) % 3)]

    with pytest.raises(SettingError, match="noisy in evaluation mode"):
        landscape(Rarely(), F.cross_entropy, batches, x=(-1, 1, 3), y=(-1, 1, 3))

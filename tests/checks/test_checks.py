"""Checks before training: each fault is named, healthy networks are left in peace."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.core.errors import SettingError
from ravine.findings.finding import Findings
from ravine.nn import init_

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def blobs(count: int = 8, size: int = 64, classes: int = 5) -> list[Batch]:
    """Batches of points (N, 20) around a centre for each class."""
    centres = torch.randn(classes, 20)
    found = []
    for _ in range(count):
        y = torch.randint(0, classes, (size,))
        found.append(((centres[y] + 0.5 * torch.randn(size, 20)) / 1.1, y))
    return found


def network(*last: nn.Module, act: type[nn.Module] = nn.ReLU, wide: int = 32) -> nn.Sequential:
    layers = OrderedDict(
        first=nn.Linear(20, wide), act1=act(), middle=nn.Linear(wide, wide), act2=act(),
        last=nn.Linear(wide, 5),
    )  # fmt: skip
    for n, module in enumerate(last):
        layers[f"behind{n}"] = module
    return nn.Sequential(layers)


def checked(
    model: nn.Module,
    batches: list[Any] | None = None,
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
    *,
    lr: float = 0.1,
    clears: bool = True,
    train: bool = True,
    **options: Any,
) -> Findings:
    optimizer = options.pop("optimizer", None) or torch.optim.SGD(model.parameters(), lr=lr)

    def step(batch: Batch) -> None:
        model.train(train)
        if clears:
            optimizer.zero_grad()
        loss(model(batch[0]), batch[1]).backward()
        optimizer.step()

    given = blobs() if batches is None else batches
    return ravine.check(model, loss, given, optimizer, step=step, **options)


@pytest.mark.parametrize("act", [nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid])
@pytest.mark.parametrize("rule", ["sgd", "adam", "rmsprop", "adagrad", "nadam"])
def test_a_healthy_network_has_no_findings(act: type[nn.Module], rule: str) -> None:
    model = network(act=act)
    made: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, lr=3e-3),
        "rmsprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
        "adagrad": lambda p: torch.optim.Adagrad(p, lr=1e-2),
        "nadam": lambda p: ravine.optim.Nadam(p, lr=3e-3),
    }

    assert checked(model, optimizer=made[rule](model.parameters()), labels_probe=True).codes == ()


@pytest.mark.parametrize("name", ["wrn-10-1", "resnet-cifar-8"])
def test_networks_of_the_house_have_no_findings(name: str) -> None:
    model = ravine.models.build(name, classes=5, channels=1, image_size=8)
    init_(model, "he", generator=torch.Generator().manual_seed(0))
    centres = torch.randn(5, 1, 8, 8)
    labels = [torch.randint(0, 5, (32,)) for _ in range(4)]

    assert checked(model, [(centres[y] + torch.randn(32, 1, 8, 8), y) for y in labels]).codes == ()


def detached() -> nn.Module:
    class Cut(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.detach()

    model = network()
    return nn.Sequential(model.first, model.act1, Cut(), model.middle, model.act2, model.last)


def with_bias(value: float) -> nn.Module:
    model = network()
    nn.init.constant_(model.middle.bias, value)
    return model


def constant() -> nn.Module:
    model = network()
    nn.init.constant_(model.middle.weight, 0.1)
    return model


def deep(act: type[nn.Module], scale: float) -> nn.Module:
    layers: list[nn.Module] = [nn.Linear(20, 32), act()]
    for _ in range(8):
        layers += [nn.Linear(32, 32), act()]
    model = nn.Sequential(*layers, nn.Linear(32, 5))
    init_(model, "he", generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for module in model[:-1]:
            if isinstance(module, nn.Linear):
                module.weight *= scale
    return model


FAULTS: dict[str, Callable[[], Findings]] = {
    "softmax-twice": lambda: checked(network(nn.Softmax(1))),
    "activation-on-logits": lambda: checked(network(nn.ReLU())),
    "loss-expects-log-probabilities": lambda: checked(network(), loss=F.nll_loss),
    "loss-of-wrong-sign": lambda: checked(network(), loss=lambda o, t: -F.cross_entropy(o, t)),
    "labels-out-of-range": lambda: checked(network(), [(x, y + 1) for x, y in blobs()]),
    "inputs-not-scaled": lambda: checked(network(), [(x * 70 + 100, y) for x, y in blobs()]),
    "inputs-not-finite": lambda: checked(network(), [(x / (x > -2), y) for x, y in blobs()]),
    "inputs-alike": lambda: checked(network(), [(x[:1].expand(64, 20), y) for x, y in blobs()]),
    "not-shuffled": lambda: checked(
        network(), [(x, torch.full_like(y, n // 2)) for n, (x, y) in enumerate(blobs())]
    ),
    "imbalance": lambda: checked(network(), [(x, y * (x[:, 0] > 1.5)) for x, y in blobs()]),
    "gradients-not-cleared": lambda: checked(network(), clears=False),
    "eval-mode": lambda: checked(network(nn.Dropout(0.1)), train=False),
    "no-gradient": lambda: checked(detached()),
    "dead-units": lambda: checked(with_bias(-10.0)),
    "symmetric-weights": lambda: checked(constant()),
    "exploding-at-start": lambda: checked(deep(nn.ReLU, 4.0)),
    "vanishing-at-start": lambda: checked(deep(nn.ReLU, 0.1)),
    "saturated-units": lambda: checked(deep(nn.Tanh, 12.0)),
    "cannot-overfit": lambda: checked(network(wide=1)),
    "dropout-too-strong": lambda: checked(network(nn.Identity(), nn.Dropout(0.95))),
    "decay-too-strong": lambda: checked(
        m := network(), optimizer=torch.optim.SGD(m.parameters(), lr=0.1, weight_decay=1.0)
    ),
    "rate-too-high": lambda: checked(network(), lr=30.0),
    "rate-too-low": lambda: checked(network(), lr=1e-5),
    "labels-unrelated": lambda: checked(
        network(), [(x, y[torch.randperm(64)]) for x, y in blobs()], labels_probe=True
    ),
    "label-noise": lambda: checked(
        network(),
        [(x, torch.where(torch.rand(64) < 0.4, torch.randint(0, 5, (64,)), y)) for x, y in blobs()],
        labels_probe=True,
    ),
}


@pytest.mark.parametrize("code", FAULTS)
def test_a_fault_is_named_first(code: str) -> None:
    found = FAULTS[code]()

    assert found.codes[:1] == (code,), str(found)


def test_a_layer_that_the_optimizer_does_not_hold_is_named() -> None:
    model = network()
    held = [*model.first.parameters(), *model.last.parameters()]
    found = checked(model, optimizer=torch.optim.SGD(held, lr=0.1))

    assert found[0].code == "not-in-optimizer"
    assert found[0].layer == "middle"
    assert found[0].evidence == {"parameters": 2, "of": 6}


def test_the_optimizer_of_another_model_is_named() -> None:
    found = checked(network(), optimizer=torch.optim.SGD(network().parameters(), lr=0.1))

    assert found[0].code in ("step-does-not-update", "not-in-optimizer")


def test_a_step_that_accumulates_gradients_and_clears_them_is_right() -> None:
    model, calls = network(), 0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(batch: Batch) -> None:
        nonlocal calls
        calls += 1
        (F.cross_entropy(model(batch[0]), batch[1]) / 2).backward()
        if calls % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()

    assert ravine.check(model, F.cross_entropy, blobs(), optimizer, step=step).codes == ()


def test_a_frozen_layer_is_no_finding() -> None:
    model = network()
    model.first.requires_grad_(False)
    learning = [p for p in model.parameters() if p.requires_grad]

    assert checked(model, optimizer=torch.optim.SGD(learning, lr=0.1)).codes == ()


def test_statistics_that_do_not_follow_are_found_in_a_trained_network() -> None:
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32, momentum=1e-4), nn.ReLU(),
                          nn.Linear(32, 5))  # fmt: skip
    batches = [(x + 4, y) for x, y in blobs()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for n in range(150):
        x, y = batches[n % 8]
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()

    assert "norm-statistics-disagree" in checked(model, batches).codes
    model[1].momentum = 0.1
    for x, _ in batches * 5:
        model(x)
    assert "norm-statistics-disagree" not in checked(model, batches).codes


def test_checking_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3),
                          nn.Linear(32, 5))  # fmt: skip
    model[3].eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    batches = blobs()
    F.cross_entropy(model(batches[0][0]), batches[0][1]).backward()
    optimizer.step()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    gradients = [(p.grad, p.grad.clone()) for p in model.parameters() if p.grad is not None]
    modes = [m.training for m in model.modules()]
    chance = torch.get_rng_state()

    checked(model, batches, optimizer=optimizer, labels_probe=True)

    torch.testing.assert_close((model.state_dict(), optimizer.state_dict()), before, rtol=0, atol=0)
    held = [p.grad for p in model.parameters()]
    assert all(a is b and torch.equal(a, c) for a, (b, c) in zip(held, gradients, strict=True))
    assert [m.training for m in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), chance)


class Named(nn.Module):
    """Two inputs by name, a dictionary out, one layer that runs three times, shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.last = nn.Linear(10, 10), nn.Linear(10, 5)
        self.again = self.inner

    def forward(self, left: Tensor, right: Tensor) -> dict[str, Tensor]:
        x = left + right
        for _ in range(2):
            x = torch.relu(self.inner(x))
        return {"logits": self.last(self.again(x)), "x": x}


def test_several_inputs_and_dictionaries_are_handled() -> None:
    model = Named()
    batches = [({"left": x[:, :10], "right": x[:, 10:]}, y) for x, y in blobs()]
    pairs = [(x[:, :10], x[:, 10:], y) for x, y in blobs()]
    for given in (batches, pairs):
        found = ravine.check(
            model,
            lambda out, y: F.cross_entropy(out["logits"], y),
            given,
            torch.optim.SGD(model.parameters(), lr=0.1),
            labels_probe=True,
        )
        assert found.codes == ("shared-parameters",)


class Pair(nn.Module):
    """A tuple out: the logits and what is beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.inner(x), x.mean()


def test_a_module_that_returns_a_tuple_is_handled_or_told_what_to_pass() -> None:
    model = Pair()
    said = checked(model, loss=lambda out, y: F.cross_entropy(out[0], y), labels_probe=True)

    assert said.codes == ()
    with pytest.raises(SettingError, match="a tuple of 2: take what the loss needs out of it"):
        checked(model)


class Breaks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("no such thing")


@pytest.mark.parametrize(
    ("model", "loss", "batches", "said"),
    [
        (nn.ReLU(), F.cross_entropy, None, "no parameters that learn"),
        (Breaks(), F.cross_entropy, None, "the model raises on a batch: RuntimeError: no such"),
        (Named(), F.cross_entropy, [(torch.ones(4, 10), torch.ones(4, 10), torch.zeros(4).long())],
         "a dict with logits, x: take what the loss needs"),
        (network(), lambda o, t: F.cross_entropy(o, t, reduction="none"), None, "take .mean()"),
        (network(), 3, None, "loss must be a function"),
        (network(), F.cross_entropy, [], "batches is empty"),
        (network(), F.cross_entropy, [torch.ones(3, 20)], r"not \(inputs, targets\)"),
        (network(), F.cross_entropy, [("a", torch.ones(3))], "without a tensor"),
        (network(), F.cross_entropy, torch.ones(3), "batches must be an iterable"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_one_line(
    model: nn.Module, loss: Any, batches: Any, said: str
) -> None:
    with pytest.raises(SettingError, match=said) as caught:
        ravine.check(model, loss, blobs() if batches is None else batches)
    assert "\n" not in str(caught.value)


def test_a_regression_is_checked_as_far_as_it_goes() -> None:
    batches = [(x, x[:, :2].sum(1, keepdim=True)) for x, _ in blobs()]
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 1))

    assert checked(model, batches, F.mse_loss, lr=0.05, labels_probe=True).codes == ()

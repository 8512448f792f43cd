"""The monitor changes nothing, and its numbers are those of a float64 reference."""

import copy
import io
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.core.errors import SettingError
from ravine.optim import Adam, Transaction
from ravine.runs.layers_file import read_layers

IMAGES, LABELS = torch.Size((16, 3, 6, 6)), 5


class Block(nn.Module):
    """A residual block that draws from three sources of chance and changes its buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: Tensor) -> Tensor:
        shift = 0.01 * (random.random() + float(np.random.random()))
        return torch.relu(x + self.drop(self.norm(self.conv(x))) + shift)


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        Block(),
        nn.Flatten(),
        nn.Linear(144, LABELS),
    )


def batches(count: int) -> Iterator[tuple[Tensor, Tensor]]:
    chance = torch.Generator().manual_seed(3)
    for _ in range(count):
        yield torch.randn(IMAGES, generator=chance), torch.randint(LABELS, (16,), generator=chance)


@contextmanager
def single_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


WAYS = ("plain", "autocast", "accumulation", "clipping", "transaction", "compiled", "ddp")


def trained(way: str, *, watched: bool) -> tuple[list[Any], ravine.Monitor | None]:
    """Returns everything that 20 steps leave behind."""
    model = network()
    random.seed(5)
    np.random.seed(6)
    called: Any = model
    if way == "compiled":
        model[2] = nn.BatchNorm2d(4)  # Python's own chance would break the graph
        called = torch.compile(model, backend="aot_eager")
    if way == "ddp":
        called = nn.parallel.DistributedDataParallel(model)
    optimizer = Adam(model.parameters(), lr=1e-2)
    theirs = torch.optim.AdamW(model.parameters(), lr=1e-2)
    transaction = Transaction(optimizer, model, clip=1.0)
    watch = {"transaction": transaction, "clipping": optimizer}.get(way, theirs)
    monitor = ravine.Monitor(called, watch, every=1) if watched else None
    torch.manual_seed(9)
    with monitor or nullcontext():
        for step, (x, y) in enumerate(batches(20)):
            if way != "accumulation" or step % 2 == 0:
                theirs.zero_grad()
            transaction.begin()
            with torch.autocast("cpu", torch.bfloat16, enabled=way == "autocast"):
                logits = called(x)
            loss = F.cross_entropy(logits.float(), y)
            loss.backward()
            if way == "transaction":
                transaction.step(loss, clear=step % 3 == 0)
            elif way == "clipping":
                nn.utils.clip_grad_norm_(model.parameters(), 0.1)
                optimizer.step()
            elif way != "accumulation" or step % 2:
                theirs.step()
            if monitor is not None:
                monitor.record(loss=loss)
    state = [s for o in (optimizer, theirs) for held in o.state.values() for s in held.values()]
    gradients = [p.grad for p in model.parameters()]
    chance = [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()]
    return [*model.state_dict().values(), *state, *gradients, *chance], monitor


@pytest.mark.parametrize("way", WAYS)
def test_training_is_bitwise_the_same_with_and_without(way: str, tmp_path: Path) -> None:
    with single_process(tmp_path) if way == "ddp" else nullcontext():
        alone, _ = trained(way, watched=False)
        seen, monitor = trained(way, watched=True)
    assert len(alone) == len(seen)
    for a, b in zip(alone, seen, strict=True):
        assert torch.equal(a, b) if isinstance(a, Tensor) else a == b
    assert monitor is not None
    assert not monitor.notes
    assert len(monitor.looks) == (10 if way == "accumulation" else 20)
    for snapshot in monitor.snapshots:
        assert snapshot.layers["0"].gradient_var is not None
        assert (snapshot.parameters["0.weight"].gradient_norm or 0) > 0


def test_numbers_are_those_of_a_float64_reference() -> None:
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3))
    exact = copy.deepcopy(model).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    x, y = torch.randn(20, 7), torch.randint(3, (20,))
    with ravine.Monitor(model, optimizer, examples=5) as monitor:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    snapshot = monitor.snapshots[0]

    first = exact[0](x.double())
    loss = F.cross_entropy(exact[2](torch.tanh(first)), y)
    by_first, *by_weight = torch.autograd.grad(loss, [first, *exact.parameters()])
    layer = snapshot.layers["0"]
    assert layer.mean == pytest.approx(float(first.detach()[:5].mean()), rel=1e-5)
    assert layer.var == pytest.approx(float(first.detach()[:5].var(correction=0)), rel=1e-5)
    assert layer.gradient_var == pytest.approx(float(by_first[:5].var(correction=0)), rel=1e-4)
    for (name, w), g in zip(exact.named_parameters(), by_weight, strict=True):
        row = snapshot.parameters[name]
        assert row.gradient_norm == pytest.approx(float(g.norm()), rel=1e-5)
        assert row.update_ratio == pytest.approx(
            float(0.3 * g.norm() / w.detach().norm()), rel=1e-3
        )
        assert row.learning_rate == 0.3


def test_a_large_parameter_is_compared_on_a_sample_that_tells_the_same() -> None:
    torch.manual_seed(3)
    model = nn.Linear(400, 500).to(torch.float32)
    before = model.weight.detach().double().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=10.0)
    with ravine.Monitor(model, optimizer) as monitor:
        model(torch.randn(16, 400)).square().mean().backward()
        optimizer.step()
    exact = float((model.weight.detach().double() - before).norm() / before.norm())
    ratio = monitor.snapshots[0].parameters["weight"].update_ratio
    assert ratio == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize(
    ("optimizer", "squares"),
    [
        (lambda p: torch.optim.Adagrad(p, lr=0.1), lambda g: sum(x**2 for x in g)),
        (
            lambda p: torch.optim.RMSprop(p, lr=0.1, alpha=0.9),
            lambda g: sum(0.1 * 0.9 ** (len(g) - 1 - k) * x**2 for k, x in enumerate(g)),
        ),
        (
            lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.9, 0.8)),
            lambda g: (
                sum(0.2 * 0.8 ** (len(g) - 1 - k) * x**2 for k, x in enumerate(g))
                / (1 - 0.8 ** len(g))
            ),
        ),
        (
            lambda p: Adam(p, lr=0.1, betas=(0.9, 0.8)),
            lambda g: (
                sum(0.2 * 0.8 ** (len(g) - 1 - k) * x**2 for k, x in enumerate(g))
                / (1 - 0.8 ** len(g))
            ),
        ),
    ],
)
def test_the_effective_rate_is_that_of_the_squared_gradients(
    optimizer: Callable[[Any], torch.optim.Optimizer], squares: Callable[[Any], Any]
) -> None:
    model = nn.Linear(5, 4, bias=False)
    steps = optimizer(model.parameters())
    gradients = []
    with ravine.Monitor(model, steps, every=1) as monitor:
        for _ in range(5):
            steps.zero_grad()
            model(torch.randn(6, 5)).exp().mean().backward()
            gradients.append(model.weight.grad.double().clone())
            steps.step()
    for k, snapshot in enumerate(monitor.snapshots, 1):
        G = squares(gradients[:k])
        assert snapshot.parameters["weight"].learning_rate == pytest.approx(
            float(0.1 / G.sqrt().median()), rel=1e-3
        )


def test_a_blocks_increment_is_its_branch_over_its_skip() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Linear(4, 4, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.branch(x)

    model = nn.Sequential(Half(), Half())
    with torch.no_grad():
        for half, factor in zip(model, (0.5, -0.25), strict=True):
            half.branch.weight.copy_(factor * torch.eye(4))
    with ravine.Monitor(model, torch.optim.SGD(model.parameters(), lr=0.1)) as monitor:
        model(torch.randn(6, 4)).sum().backward()
        monitor._optimizer.step()
    layers = monitor.snapshots[0].layers
    assert layers["0 +"].increment == pytest.approx(0.5)
    assert layers["1 +"].increment == pytest.approx(0.25)


def test_ravines_own_networks_are_seen_layer_by_layer() -> None:
    model = ravine.models.build("wrn-10-1", classes=5, channels=3, image_size=8)
    optimizer = ravine.optim.Momentum(model.parameters(), lr=0.1)
    transaction = Transaction(optimizer, model)
    with ravine.Monitor(model, transaction) as monitor:
        loss = model(torch.randn(8, 3, 8, 8)).square().mean()
        loss.backward()
        transaction.step(loss)
    layers = monitor.snapshots[0].layers
    kinds = [layer.kind for layer in layers.values()]
    assert kinds.count("BatchNorm2d") == 7
    assert kinds.count("ReLU") == 7
    assert kinds.count("residual") == 3
    rest = [layer for layer in layers.values() if layer.kind not in ("input", "residual")]
    assert all(layer.gradient_var is not None for layer in rest)


def test_a_copy_and_a_pickle_of_the_network_take_nothing_of_the_monitor_with_them() -> None:
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ravine.Monitor(model, optimizer) as monitor:
        twin = copy.deepcopy(model)
        torch.save(model, io.BytesIO())
        twin(torch.randn(4, 3)).sum().backward()
        assert monitor._capture.call is None
    assert not model._forward_hooks
    assert not model._forward_pre_hooks
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_snapshots_lie_in_a_file_with_what_is_not_finite_as_it_is(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "layers.jsonl"
    with ravine.Monitor(model, optimizer, path=path, every=1) as monitor:
        for scale in (1.0, float("inf")):
            optimizer.zero_grad()
            model(scale * torch.randn(4, 3)).sum().backward()
            optimizer.step()
    kept = read_layers(path).snapshots
    assert [one.step for one in kept] == [1, 2]
    for read, held in zip(kept, monitor.snapshots, strict=True):
        assert list(read.layers) == list(held.layers)
        for name, layer in held.layers.items():
            assert read.layers[name].kind == layer.kind
            for number in ("mean", "var", "gradient_var", "dead", "saturated", "increment"):
                value = getattr(layer, number)
                close = None if value is None else pytest.approx(value, rel=1e-4, nan_ok=True)
                assert getattr(read.layers[name], number) == close
        for name, parameter in held.parameters.items():
            assert read.parameters[name].learning_rate == parameter.learning_rate == 0.1
    assert np.isnan(kept[1].layers["0"].var)


def test_looks_are_the_snapshots_as_rows_of_the_file() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ravine.Monitor(model, optimizer) as monitor:
        model(torch.randn(4, 3)).sum().backward()
        optimizer.step()
    (look,), (snapshot,) = monitor.looks, monitor.snapshots
    keys = {"kind", "step", "lr", "layers", "parameters", "overhead"}
    assert set(look) == keys
    assert set(look["layers"]["1"]) == {"kind", "mean", "var", "gradient_var", "dead"}
    assert look["layers"]["0"]["var"] == snapshot.layers["0"].var
    assert set(look["parameters"]["0.weight"]) == {"update_ratio", "gradient_norm", "rate"}


class Pair(nn.Module):
    """Takes named inputs, one of whole numbers, and returns a dictionary of two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, *, tokens: Tensor, scale: float) -> dict[str, Tensor]:
        hidden = self.embed(tokens).mean(1) * scale
        again = self.head(hidden)
        return {"logits": self.head(hidden), "again": again}


def test_a_module_of_named_inputs_and_several_outputs_is_seen() -> None:
    model = Pair()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ravine.Monitor(model, optimizer) as monitor:
        out = model(tokens=torch.randint(9, (12, 6)), scale=2.0)
        (out["logits"].sum() + out["again"].square().sum()).backward()
        optimizer.step()
    layers = monitor.snapshots[0].layers
    assert list(layers) == ["embed", "head", "head#2"]
    assert all(layer.gradient_var is not None for layer in layers.values())


def test_a_network_that_refuses_few_examples_is_noted_and_trains_on() -> None:
    class Picky(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            if len(x) != 16:
                raise ValueError("sixteen, please")
            return self.inner(x)

    model = Picky()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ravine.Monitor(model, optimizer, every=1) as monitor:
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(16, 3)).sum().backward()
            optimizer.step()
    assert monitor.notes == ["layers are not measured: ValueError: sixteen, please"]
    assert len(monitor.snapshots) == 3
    assert (monitor.snapshots[2].parameters["inner.weight"].update_ratio or 0) > 0


def test_an_optimizer_of_another_model_is_a_finding_and_no_error() -> None:
    model, other = nn.Linear(3, 2), nn.Linear(3, 2)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    before = model.weight.detach().clone()
    with ravine.Monitor(model, optimizer) as monitor:
        for _ in range(20):
            loss = model(torch.randn(16, 3)).square().sum()
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss)
    assert [(one.severity, one.code) for one in monitor.findings][:1] == [
        ("critical", "not-in-optimizer")
    ]
    assert torch.equal(model.weight, before)


def test_mistakes_are_refused_in_one_line() -> None:
    model, frozen = nn.Linear(3, 2), nn.Linear(3, 2).requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(SettingError, match="no parameters that learn"):
        ravine.Monitor(frozen, optimizer)
    with pytest.raises(SettingError, match="share"):
        ravine.Monitor(model, optimizer, share=1.5)
    with (
        ravine.Monitor(model, optimizer) as monitor,
        pytest.raises(SettingError, match=r"got the shape \(4,\)"),
    ):
        monitor.record(loss=torch.zeros(4))

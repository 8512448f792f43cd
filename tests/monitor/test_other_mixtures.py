"""What a monitor is not to say: of another mixture of classes, and of gradients of before."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.held_out_detectors import find_behind
from ravine.findings.loop_record import BetterView, InputShift, LoopRecord, ResponseShift
from ravine.findings.run_trace import Trace, trace

PATTERNS = torch.randn(5, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def pictures(y: Tensor) -> Tensor:
    return PATTERNS[y] + 1.5 * torch.randn(len(y), 1, 12, 12)


def behind() -> Trace:
    rows = [{"kind": "step", "step": n + 1, "loss": 2.3 * 0.98**n} for n in range(140)]
    held = [
        {"kind": "epoch", "step": n, "train_loss": 0.3, "loss": 0.9, "accuracy": 0.8}
        for n in (120, 140)
    ]
    return trace([*rows, *held], classes=10)


@pytest.mark.parametrize(
    ("distance", "effect", "is_named"),
    [(1.4, 0.1, False), (2.5, 0.03, False), (2.5, 0.1, True), (20.0, 0.01, True)],
)
@pytest.mark.parametrize("is_view", [True, False])
def test_another_mixture_of_classes_is_no_other_preparation(
    *, distance: float, effect: float, is_named: bool, is_view: bool
) -> None:
    view = BetterView(name="upside down", as_is=94.0, nearest=37.0) if is_view else None
    shift = InputShift(
        trained=(0.1, 1.0), validated=(0.0, 1.0), deviations=2.0, correlation=0.8, halves=0.99
    )
    response = ResponseShift(distance=distance, effect=effect)
    record = LoopRecord(
        validations=8, calls=140, shift=None if is_view else shift, view=view, response=response
    )

    found = [one.code for one in find_behind(record, behind())]

    assert found == (["validation-prepared-differently"] if is_named else [])


@pytest.mark.parametrize("stale", [True, False])
def test_gradients_of_a_training_before_are_none_of_this_one(*, stale: bool) -> None:
    body, head = nn.Linear(144, 32), nn.Linear(32, 5)
    model = nn.Sequential(nn.Flatten(), body, nn.ReLU(), head)
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    F.cross_entropy(model(pictures(torch.arange(5))), torch.arange(5)).backward()
    with ravine.Monitor(model, optimizer) as monitor:
        for _ in range(12):
            y = torch.randint(0, 5, (32,))
            optimizer.zero_grad()
            with torch.set_grad_enabled(not stale):
                features = body(pictures(y).flatten(1))
            out = head(features.relu())
            loss = F.cross_entropy(out, y)
            loss.backward()
            optimizer.step()
            monitor.record(loss=loss.detach())
        found = monitor.findings

    assert ("not-in-optimizer" in found.codes) != stale

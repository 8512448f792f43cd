"""Ends of networks and losses of targets that are no class labels, or labels of every pixel."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(model: nn.Module, loss: Any, batches: list[Batch], **given: Any) -> tuple[str, ...]:
    return ravine.check(model, loss, batches, learn=False, **given).codes


def images(targets: Callable[[Tensor], Tensor]) -> list[Batch]:
    found = [torch.randn(16, 1, 8, 8) for _ in range(4)]
    return [(x, targets(x)) for x in found]


def dense(outputs: int, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, outputs, 1), *last
    )  # fmt: skip


def dice(out: Tensor, mask: Tensor) -> Tensor:
    p, t = out.squeeze(1).sigmoid(), mask.float()
    return 1 - ((2 * (p * t).sum((1, 2)) + 1) / ((p + t).sum((1, 2)) + 1)).mean()


def test_labels_of_every_pixel_are_tried_like_labels_of_images() -> None:
    batches = images(lambda x: (x.squeeze(1) > 0).long())

    assert codes(dense(2), F.cross_entropy, batches) == ()
    assert codes(dense(2, nn.Softmax(1)), F.cross_entropy, batches) == ("softmax-twice",)
    assert codes(dense(2, nn.ReLU()), F.cross_entropy, batches) == ("activation-on-logits",)
    assert codes(dense(2), F.nll_loss, batches) == ("loss-expects-log-probabilities",)


def test_a_loss_of_masks_must_fall_towards_them() -> None:
    batches = images(lambda x: (x.squeeze(1) > 0).long())

    assert codes(dense(1), dice, batches) == ()
    assert codes(dense(1), lambda o, y: 1 - dice(o, y), batches) == ("loss-of-wrong-sign",)
    values = images(lambda x: x)
    assert codes(dense(1), F.mse_loss, values) == ()
    assert codes(dense(1), lambda o, y: -F.mse_loss(o, y), values) == ("loss-of-wrong-sign",)


def test_distances_of_pairs_have_a_sign_of_their_own() -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(64, 8)

        def forward(self, x: Tensor) -> Tensor:
            one, other = self.body(x.flatten(1)), self.body(-x.flatten(1))
            return F.pairwise_distance(one, other)

    def contrastive(d: Tensor, same: Tensor) -> Tensor:
        return (same * d**2 + (1 - same) * F.relu(1 - d) ** 2).mean()

    assert codes(Pair(), contrastive, images(lambda x: (x[:, 0, 0, 0] > 0).float())) == ()


@pytest.mark.parametrize(
    ("last", "scale"), [(nn.ReLU(), 1.0), (nn.Sigmoid(), 1.0), (nn.Tanh(), 4.0)]
)
def test_a_last_function_must_reach_the_targets(last: nn.Module, scale: float) -> None:
    assert codes(dense(1, last), F.mse_loss, images(lambda x: scale * x)) == (
        "activation-on-logits",
    )
    within = images(lambda x: x.sigmoid())
    assert codes(dense(1, last), F.mse_loss, within) == ()


def test_rows_of_shares_tell_what_the_loss_expects() -> None:
    labels = torch.arange(16) % 5
    batches = images(lambda _: F.one_hot(labels, 5).float() * 0.8 + 0.04)
    end = (nn.Flatten(), nn.Linear(64, 5))
    ends = nn.Sequential(*dense(1), *end)

    def kl(out: Tensor, y: Tensor) -> Tensor:
        return F.kl_div(out, y, reduction="batchmean")

    assert codes(nn.Sequential(*ends, nn.LogSoftmax(1)), kl, batches) == ()
    for wrong in (ends, nn.Sequential(*ends, nn.Softmax(1))):
        assert codes(wrong, kl, batches) == ("loss-expects-log-probabilities",)
    assert codes(ends, F.cross_entropy, batches) == ()
    twice = nn.Sequential(*ends, nn.Softmax(1))
    assert codes(twice, F.cross_entropy, batches) == ("softmax-twice",)
    assert codes(twice, F.binary_cross_entropy_with_logits, batches) == ("sigmoid-twice",)


def test_distances_between_examples_are_no_uninformative_targets() -> None:
    def triplets(e: Tensor, y: Tensor) -> Tensor:
        d, same = torch.cdist(e, e), y[:, None] == y
        return F.relu((d * same).amax(1) - (d + 9 * same).amin(1) + 0.3).mean()

    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8))

    assert codes(model, triplets, images(lambda _: torch.arange(16) % 4)) == ()


def test_a_step_that_writes_into_its_batch_is_named_and_undone() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = images(lambda x: (x.mean((1, 2, 3)) > 0).long())
    kept = [x.clone() for x, _ in batches]

    def step(batch: Batch, *, in_place: bool) -> None:
        x = batch[0].sub_(0.3).div_(0.3) if in_place else (batch[0] - 0.3) / 0.3
        optimizer.zero_grad()
        F.cross_entropy(model(x), batch[1]).backward()
        optimizer.step()

    for in_place in (True, False):
        found = ravine.check(
            model, F.cross_entropy, batches, optimizer,
            step=lambda batch, way=in_place: step(batch, in_place=way), learn=False,
        )  # fmt: skip
        assert ("batch-changed" in found.codes) == in_place
        assert "gradients-not-cleared" not in found.codes
    assert all(torch.equal(x, old) for (x, _), old in zip(batches, kept, strict=True))


def test_a_layer_made_in_forward_is_not_registered_before_it_is_noisy() -> None:
    class Anew(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(64, 16)

        def forward(self, x: Tensor) -> Tensor:
            return nn.Linear(16, 4)(self.first(x.flatten(1)).relu())

    found = ravine.check(
        Anew(), F.cross_entropy, images(lambda _: torch.arange(16) % 4), learn=False
    )

    assert found[0].code == "parameters-not-registered"
    assert "noisy-evaluation" in found[0].symptoms


def test_a_long_memory_of_steps_is_a_high_rate() -> None:
    centres = torch.randn(4, 1, 8, 8)
    labels = torch.arange(64) % 4
    batches = [(0.1 * centres[labels] + torch.randn(64, 1, 8, 8), labels) for _ in range(8)]

    def found(momentum: float) -> tuple[str, ...]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
        return ravine.check(model, F.cross_entropy, batches, optimizer).codes

    assert found(0.9) == ()
    assert found(0.9995) == ("rate-too-high",)


def test_examples_without_a_label_do_not_count_as_wrong() -> None:
    labels = torch.where(torch.arange(16) % 3 == 0, torch.arange(16) % 4, -100)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))

    assert ravine.check(model, F.cross_entropy, images(lambda _: labels)).codes == ()


def test_a_compiled_network_is_checked_as_it_was_written() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2)
    )
    model = torch.compile(inner, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batches = images(lambda x: (x.mean((1, 2, 3)) > 0).long())
    model(batches[0][0])

    def step(batch: Batch) -> None:
        model.eval()
        optimizer.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        optimizer.step()

    found = ravine.check(model, F.cross_entropy, batches, optimizer, step=step, learn=False)

    assert found.codes == ("eval-mode",)

"""Faults and unusual healthy loops as they are met in the wild, each beside the loop without it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import ravine

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def mlp(inputs: int = 8, outputs: int = 4) -> nn.Sequential:
    layers = [
        nn.Linear(inputs, 32),
        nn.ReLU(),
        nn.Linear(32, 32),
        nn.ReLU(),
        nn.Linear(32, outputs),
    ]
    return nn.Sequential(*layers)


def batches(count: int = 8, *, size: int = 32, classes: int = 4) -> list[Batch]:
    centres = 2 * torch.randn(classes, 8)
    labels = [torch.randint(0, classes, (size,)) for _ in range(count)]
    return [(centres[y] + torch.randn(size, 8), y) for y in labels]


def step_of(model: nn.Module, *optimizers: torch.optim.Optimizer) -> Callable[[Batch], Tensor]:
    def step(batch: Batch) -> Tensor:
        model.train()
        for one in optimizers:
            one.zero_grad()
        loss = F.cross_entropy(model(batch[0]), batch[1])
        loss.backward()
        for one in optimizers:
            one.step()
        return loss.detach()

    return step


def codes(model: nn.Module, found: list[Any], loss: Any = F.cross_entropy, *args: Any,
          **given: Any) -> tuple[str, ...]:  # fmt: skip
    return ravine.check(model, loss, found, *args, **{"learn": False} | given).codes


def test_layers_without_anything_between_them_are_linear() -> None:
    bent, straight = mlp(), nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Linear(32, 4))
    far = [(torch.cat([x[:, :7], 3e4 * x[:, 7:]], 1), y) for x, y in batches()]

    assert codes(straight, batches()) == ("network-is-linear",)
    assert codes(bent, batches()) == ()
    assert codes(nn.Linear(8, 4), batches()) == ()
    assert "network-is-linear" not in codes(bent, far)


def test_one_column_that_is_far_larger_is_not_scaled_whatever_the_labels_look_like() -> None:
    far = [(torch.cat([x, 3e4 * torch.randn(32, 1)], 1), y) for x, y in batches(16)]

    assert codes(mlp(9), far, labels_probe=True)[0] == "inputs-not-scaled"


def test_a_step_that_trains_on_the_first_batch_always_is_named() -> None:
    model, found = mlp(), batches()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    step = step_of(model, optimizer)

    def same(_: Batch) -> Tensor:
        return step(found[0])

    assert codes(model, found, F.cross_entropy, optimizer, step) == ()
    assert codes(model, found, F.cross_entropy, optimizer, same)[0] == "step-trains-something-else"


def test_gradients_that_one_of_two_optimizers_keeps_are_named() -> None:
    model, found = mlp(), batches()
    body, head = (torch.optim.SGD(p.parameters(), lr=0.02) for p in (model[:-1], model[-1]))

    def half(batch: Batch) -> None:
        head.zero_grad()
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        body.step()
        head.step()

    assert codes(model, found, F.cross_entropy, body, step_of(model, body, head)) == ()
    assert codes(model, found, F.cross_entropy, body, half)[0] == "gradients-not-cleared"


def test_an_optimizer_that_holds_nothing_that_learns_is_the_cause_of_weights_that_rest() -> None:
    model = mlp()
    model[:-1].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    model[-1] = nn.Linear(32, 4)

    found = codes(model, batches(), F.cross_entropy, optimizer, step_of(model, optimizer))

    assert found == ("not-in-optimizer", "frozen-at-random")


@pytest.mark.parametrize("is_added", [False, True])
def test_a_monitor_sees_layers_that_are_unfrozen_and_never_step(is_added: bool) -> None:
    model, found = mlp(), batches(40)
    model[:-1].requires_grad_(False)
    optimizer = torch.optim.SGD(model[-1].parameters(), lr=0.05)
    step = step_of(model, optimizer)
    with ravine.Monitor(model, optimizer) as monitor:
        for number, batch in enumerate(found):
            if number == 10:
                model.requires_grad_(True)
                if is_added:
                    optimizer.add_param_group({"params": list(model[:-1].parameters())})
            monitor.record(loss=step(batch))

    assert ("not-in-optimizer" in monitor.findings.codes) == (not is_added)


def test_weights_of_classes_that_rise_with_their_counts_are_turned_round() -> None:
    counts = torch.tensor([160, 80, 20, 20])
    y = torch.arange(4).repeat_interleave(counts)[torch.randperm(280)]
    found = [(torch.randn(len(part), 8), part) for part in y.split(35)]
    share = counts / counts.sum()

    def weighed(weight: Tensor | None) -> tuple[str, ...]:
        return codes(mlp(), found, lambda out, t: F.cross_entropy(out, t, weight))

    assert weighed(share)[0] == "loss-ignores-examples"
    assert weighed(1 / share) == weighed(None) == ()


def focal(out: Tensor, y: Tensor, *, turned: bool) -> Tensor:
    p = out.softmax(1).gather(1, y[:, None])
    return ((p if turned else 1 - p) ** 3 * -p.log()).mean()


def test_a_loss_that_weighs_right_answers_most_has_the_wrong_sign() -> None:
    assert codes(mlp(), batches(), lambda out, y: focal(out, y, turned=False)) == ()
    turned = codes(mlp(), batches(), lambda out, y: focal(out, y, turned=True))
    assert turned[0] == "loss-of-wrong-sign"


def test_weights_of_terms_that_the_step_alone_uses_get_their_gradient_there() -> None:
    class Weighed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.second = mlp(), nn.Linear(8, 4)
            self.doubt = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    model = Weighed()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)

    def step(batch: Batch) -> None:
        optimizer.zero_grad()
        terms = [F.cross_entropy(one(batch[0]), batch[1]) for one in (model, model.second)]
        (torch.stack(terms) * (-model.doubt).exp() + model.doubt).sum().backward()
        optimizer.step()

    given = {"learn": True}
    assert codes(model, batches(), F.cross_entropy, optimizer, step, **given) == ()
    assert "no-gradient" in codes(model, batches(), F.cross_entropy, optimizer, **given)


def test_a_large_target_among_several_is_named() -> None:
    def both(out: Tensor, t: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(out[:, :4], t[0]) + F.mse_loss(out[:, 4], t[1])

    def found(size: float) -> list[Any]:
        return [(x, (y, size * torch.randn(32))) for x, y in batches()]

    assert codes(mlp(outputs=5), found(1000.0), both)[0] == "targets-not-scaled"
    assert codes(mlp(outputs=5), found(1.0), both) == ()


def dense(outputs: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, outputs, 1))


def shapes(*, turned: bool = False, border: int | None = None) -> list[Batch]:
    """Pictures (16, 1, 12, 12) of a bright and a dark box, with masks of 0, 1, 2."""
    found = []
    for _ in range(8):
        y = torch.zeros(16, 12, 12, dtype=torch.long)
        for mask in y:
            top, left = torch.randint(0, 4, (2,)).tolist()
            mask[top : top + 4, left : left + 6], mask[8:11, 7 - left : 11 - left] = 1, 2
        x = torch.tensor([0.0, 1.5, -1.5])[y][:, None] + 0.3 * torch.randn(16, 1, 12, 12)
        if turned:
            y = torch.stack([m.rot90(int(k)) for m, k in zip(y, torch.randint(0, 4, (16,)))])  # noqa: B905
        found.append((x, torch.where(y == 0, border, y) if border is not None else y))
    return found


def test_masks_that_are_turned_apart_from_their_pictures_are_named() -> None:
    assert codes(dense(), shapes(), labels_probe=True) == ()
    assert codes(dense(), shapes(turned=True), labels_probe=True) == ("labels-unrelated",)
    noise = [(torch.randn_like(x), y) for x, y in shapes()]
    assert "labels-unrelated" not in codes(dense(), noise, labels_probe=True)


def test_losses_of_pixels_that_pass_over_a_class_or_mix_the_axes_are_named() -> None:
    def viewed(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out.reshape(-1, 3), y.reshape(-1))

    def permuted(out: Tensor, y: Tensor) -> Tensor:
        return viewed(out.permute(0, 2, 3, 1), y)

    def passes(out: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(out, y, ignore_index=0)

    assert codes(dense(), shapes(), F.cross_entropy) == codes(dense(), shapes(), permuted) == ()
    assert codes(dense(), shapes(), viewed)[0] == "outputs-scrambled"
    assert codes(dense(), shapes(), passes) == ("loss-ignores-examples",)
    assert codes(dense(), shapes(border=-100), F.cross_entropy) == ()
    unlabelled = codes(
        dense(), shapes(border=255), lambda out, y: F.cross_entropy(out, y, ignore_index=255)
    )
    assert unlabelled == ()


def test_activations_that_are_computed_again_do_not_stop_the_check() -> None:
    class Again(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(8, 32), nn.Linear(32, 4)
            self.inner = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU())

        def forward(self, x: Tensor) -> Tensor:
            first = self.first(x)
            again = checkpoint(self.inner, first, use_reentrant=False)
            assert isinstance(again, Tensor)
            return self.head(first + again)

    assert codes(Again(), batches()) == ()


def test_sequences_of_numbers_that_cannot_be_learnt_do_not_stop_the_probe() -> None:
    model = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(64, 2))
    found = [(torch.randint(0, 20, (32, 8)), torch.randint(0, 2, (32,))) for _ in range(8)]

    assert codes(model, found, labels_probe=True)[:1] in (
        ("labels-unrelated",),
        ("labels-undecided",),
    )


def test_single_numbers_as_inputs_do_not_stop_the_probe() -> None:
    model = nn.Sequential(nn.Embedding(30, 8), nn.Linear(8, 4))
    found = [(torch.randint(0, 30, (32,)), torch.randint(0, 4, (32,))) for _ in range(6)]

    assert codes(model, found, labels_probe=True)[:1] in (
        ("labels-unrelated",),
        ("labels-undecided",),
    )


def test_networks_and_losses_that_refuse_made_up_values_are_checked_all_the_same() -> None:
    class Particular(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = mlp(), nn.Parameter(torch.full((4,), 5.0))
            self.empty = nn.Parameter(torch.zeros(0, 3))

        def forward(self, x: Tensor) -> Tensor:
            if float(self.scale.detach().min()) < 2:
                raise ValueError("a scale of 2 at least")
            return self.inner(x) * self.scale / 5 + self.empty.sum()

    def of_probabilities(out: Tensor, y: Tensor) -> Tensor:
        return F.binary_cross_entropy(out, F.one_hot(y, 4).float())

    assert codes(Particular(), batches()) == ()
    assert codes(nn.Sequential(mlp(), nn.Sigmoid()), batches(), of_probabilities) == ()


def test_hard_data_are_no_critical_plateau() -> None:
    model = nn.Linear(8, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)

    def weak(size: int) -> Batch:
        x = torch.randn(size, 8)
        return x, (x[:, 0] * 0.45 + torch.randn(size) > 0).long()

    held = weak(2000)
    with ravine.Monitor(model, optimizer) as monitor:
        for number in range(160):
            batch = weak(64)
            monitor.record(loss=step_of(model, optimizer)(batch))
            if number % 20 == 19:
                with torch.no_grad():
                    out = model(held[0])
                right = float((out.argmax(1) == held[1]).double().mean())
                loss = F.cross_entropy(out, held[1])
                monitor.record(loss=loss, split="validation", accuracy=right)

    assert [one for one in monitor.findings if one.severity != "note"] == []


def test_outputs_that_are_the_same_for_all_examples_are_named_with_the_layer() -> None:
    def ended(groups: int) -> nn.Sequential:
        pooled = (nn.AdaptiveAvgPool2d(1), nn.GroupNorm(groups, 8), nn.Flatten(), nn.Linear(8, 3))
        return nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), *pooled)

    found = [(x, torch.randint(0, 3, (16,))) for x, _ in shapes()]
    said = ravine.check(ended(8), F.cross_entropy, found, learn=False)

    assert [(one.code, one.layer) for one in said] == [("vanishing-at-start", "3")]
    assert codes(ended(2), found) == ()
    silent = ended(2)
    nn.init.zeros_(silent[-1].weight)
    assert codes(silent, found) == ()


def test_a_loss_of_masks_that_has_no_least_value_is_named() -> None:
    found = [(x, (y == 1).float()[:, None]) for x, y in shapes()]

    def dice(p: Tensor, m: Tensor) -> Tensor:
        return 1 - (2 * (p * m).sum() + 1) / (p.sum() + m.sum() + 1)

    assert codes(dense(1), found, dice)[0] == "loss-unbounded"
    assert codes(dense(1), found, lambda out, m: dice(out.sigmoid(), m)) == ()
    assert codes(dense(1), found, F.binary_cross_entropy_with_logits) == ()
    assert codes(dense(1), found, F.mse_loss) == ()

"""Targets that the inputs hold, order that is lost, inputs that are not read; and healthy ones."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import ravine
from ravine.checks.frozen_weights import is_as_drawn
from ravine.checks.label_slip import find_slip

KINDS, LENGTH = 12, 16


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(model: nn.Module, found: Any, loss: Any = F.cross_entropy, **given: Any) -> Any:
    return ravine.check(model, loss, found, **{"learn": False} | given).codes


class Writer(nn.Module):
    """A transformer over tokens, with or without a causal mask."""

    def __init__(self, *, causal: bool, kinds: int = KINDS) -> None:
        super().__init__()
        self.embed, self.causal = nn.Embedding(kinds, 24), causal
        self.places = nn.Parameter(0.3 * torch.randn(LENGTH, 24))
        self.mix = nn.TransformerEncoderLayer(24, 2, 48, dropout=0.0, batch_first=True)
        self.head = nn.Linear(24, KINDS)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.full((LENGTH, LENGTH), -torch.inf).triu(1) if self.causal else None
        h: Tensor = self.head(self.mix(self.embed(x) + self.places, src_mask=mask))
        return h


def texts(count: int = 4) -> list[Tensor]:
    return [torch.randint(0, KINDS, (32, LENGTH + 1)) for _ in range(count)]


def by_position(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out.transpose(1, 2), y)


def shifted_inside(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out[:, :-1].reshape(-1, KINDS), y[:, 1:].reshape(-1))


@pytest.mark.parametrize("causal", [False, True])
def test_a_position_that_sees_the_token_it_predicts_is_named(causal: bool) -> None:
    pairs = [(x[:, :-1], x[:, 1:]) for x in texts()]
    same = [(x[:, :-1], x[:, :-1]) for x in texts()]

    expected = () if causal else ("label-in-input",)
    assert codes(Writer(causal=causal), pairs, by_position) == expected
    assert codes(Writer(causal=causal), same, shifted_inside) == expected


def test_masked_tokens_are_no_next_ones() -> None:
    found = []
    for x in texts():
        x, hidden = x[:, :-1], torch.rand(32, LENGTH) < 0.2
        found.append((torch.where(hidden, KINDS, x), torch.where(hidden, x, -100)))

    assert codes(Writer(causal=False, kinds=KINDS + 1), found, by_position) == ()


def table(leak: Tensor | None, y: Tensor) -> list[tuple[Tensor, Tensor]]:
    x = torch.randn(len(y), 8)
    x = x if leak is None else torch.cat([x, leak[:, None]], 1)
    return list(zip(x.split(32), y.split(32), strict=True))


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.3, None])
def test_a_column_that_is_the_value_is_named(noise: float | None) -> None:
    y = torch.randn(256, 1)
    leak = None if noise is None else 5 * y[:, 0] + 100 + 5 * noise * torch.randn(256)
    found = codes(nn.Linear(8 if leak is None else 9, 1), table(leak, y), F.mse_loss)

    assert ("label-in-input" in found) == (noise is not None and noise < 0.1)


@pytest.mark.parametrize("noise", [0.05, 1.0, None])
def test_a_column_that_is_the_class_is_named(noise: float | None) -> None:
    y = torch.randint(0, 2, (256,))
    leak = None if noise is None else 2.0 * y - 1 + noise * torch.randn(256)
    found = codes(nn.Linear(8 if leak is None else 9, 2), table(leak, y))

    assert ("label-in-input" in found) == (noise == 0.05)


def test_an_autoencoder_is_given_its_inputs() -> None:
    pairs = [(x, x) for x in torch.randn(8, 32, 8).unbind()]

    model = nn.Sequential(nn.Linear(8, 3), nn.Tanh(), nn.Linear(3, 8))

    assert codes(model, pairs, F.mse_loss) == ()


class Bag(nn.Module):
    def __init__(self, *, ordered: bool) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(KINDS, 16), nn.Linear(16, 2)
        self.places = nn.Parameter(torch.randn(8, 16)) if ordered else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        h = h if self.places is None else torch.relu(h + self.places)
        out: Tensor = self.head(h.mean(1))
        return out


def sequences(*, by_order: bool) -> list[tuple[Tensor, Tensor]]:
    x = torch.randint(0, KINDS, (512, 8))
    y = (x[:, 0] < KINDS // 2) if by_order else ((x < 4).sum(1) > (x > 7).sum(1))
    return list(zip(x.split(64), y.long().split(64), strict=True))


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("by_order", [False, True])
def test_order_is_missed_only_where_labels_depend_on_it(ordered: bool, by_order: bool) -> None:
    found = codes(Bag(ordered=ordered), sequences(by_order=by_order))

    assert found == (("order-ignored",) if by_order and not ordered else ())


def test_attention_without_positions_is_a_note_where_nothing_is_known_of_the_labels() -> None:
    model = Writer(causal=False)
    model.places.requires_grad_(False).zero_()
    model.head = nn.Linear(24, 2)

    class Mean(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = model

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.inner(x).mean(1)
            return out

    pairs = [(x[:, :-1], torch.randint(0, 2, (32,))) for x in texts(8)]
    (note,) = ravine.check(Mean(), F.cross_entropy, pairs, learn=False)

    assert (note.severity, note.code) == ("note", "order-ignored")


class Padded(nn.Module):
    """Attention over tokens, 0 for padding; the mask may be turned round."""

    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        self.embed, self.turned = nn.Embedding(KINDS, 16), turned
        self.places = nn.Parameter(0.3 * torch.randn(LENGTH, 16))
        self.mix, self.head = nn.MultiheadAttention(16, 2, batch_first=True), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        h, masked = self.embed(x) + self.places, (x != 0) if self.turned else (x == 0)
        asked = self.places[:1].expand(len(x), 1, 16)
        out: Tensor = self.head(self.mix(asked, h, h, key_padding_mask=masked)[0][:, 0])
        return out


@pytest.mark.parametrize("turned", [False, True])
def test_a_mask_that_is_turned_round_reads_no_tokens(turned: bool) -> None:
    lengths = torch.randint(4, LENGTH - 2, (256, 1))
    x = torch.where(torch.arange(LENGTH) < lengths, torch.randint(1, KINDS, (256, LENGTH)), 0)
    pairs = list(zip(x.split(64), torch.randint(0, 3, (256,)).split(64), strict=True))

    assert ("inputs-ignored" in codes(Padded(turned=turned), pairs)) == turned


def related(labels: Tensor) -> Tensor:
    return 2 * F.one_hot(labels, 10).float() + 0.3 * torch.randn(len(labels), 10)


@pytest.mark.parametrize("shift", [0, 1, -1, 2])
def test_labels_that_slipped_in_the_batch_are_told_by_how_much(shift: int) -> None:
    pairs = []
    for y in torch.randint(0, 10, (8, 64)).unbind():
        pairs.append((related(y), y.roll(shift)))
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 10))
    found = ravine.check(model, F.cross_entropy, pairs, labels_probe=True, learn=False)

    unrelated = [f for f in found if f.code == "labels-unrelated"]
    assert len(unrelated) == (shift != 0)
    where = {1: "after", -1: "before", 2: "2 rows after"}
    assert not unrelated or where[shift] in unrelated[0].seen


def test_labels_that_slipped_in_the_data_set_are_found_behind_a_loader_that_shuffles() -> None:
    y = torch.randint(0, 10, (600,))
    data = TensorDataset(related(y), y.roll(1))
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 10))
    loader = DataLoader(data, batch_size=64, shuffle=True, drop_last=True)
    found = ravine.check(model, F.cross_entropy, loader, labels_probe=True, learn=False)

    assert found.codes == ("labels-unrelated",)
    assert "after it" in found[0].seen


def test_numbers_of_examples_are_no_labels_that_neighbours_could_share() -> None:
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(16, 8)

        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(self.body(x), dim=2)

    def loss(out: Tensor, index: Tensor) -> Tensor:
        return F.cross_entropy(10 * out[:, 0] @ out[:, 1].mT, torch.arange(len(index)))

    pairs = [(torch.randn(64, 2, 16), n * 64 + torch.arange(64)) for n in range(16)]
    began = time.process_time()
    found = ravine.check(Views(), loss, pairs, labels_probe=True, learn=False)

    assert "labels-unrelated" not in found.codes
    assert time.process_time() - began < 10  # it was minutes


def test_of_several_orders_that_fit_none_is_believed() -> None:
    y = [torch.arange(64).float() for _ in range(4)]

    assert find_slip(lambda given: 0.0 if given[0][0] == 0 else 9.0, y) is None


@pytest.mark.parametrize(
    ("order", "severity"), [("own", None), ("shuffled", "warning"), ("rolled", "critical")]
)
def test_values_that_do_not_belong_to_the_inputs(order: str, severity: str | None) -> None:
    x = torch.randn(1024, 6)
    y = (torch.sin(x[:, 0]) + x[:, 1])[:, None]
    parts = [(a, b.roll(1, 0) if order == "rolled" else b)
             for a, b in zip(x.split(64), y.split(64), strict=True)]  # fmt: skip
    if order == "shuffled":
        parts = list(zip(x.split(64), y[torch.randperm(1024)].split(64), strict=True))
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 1))
    found = ravine.check(model, F.mse_loss, parts, labels_probe=True, learn=False)

    assert [(f.severity, f.code) for f in found] == (
        [] if severity is None else [(severity, "labels-unrelated")]
    )


def test_frozen_layers_are_at_random_until_they_were_trained() -> None:
    def body() -> nn.Sequential:
        return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU())

    pairs = [(x, torch.randint(0, 4, (32,))) for x in torch.randn(4, 32, 8).unbind()]
    drawn, trained, one = (nn.Sequential(body(), nn.Linear(32, 4)) for _ in range(3))
    adam = torch.optim.Adam(trained.parameters(), 3e-3)
    for x, y in 20 * pairs:
        adam.zero_grad()
        F.cross_entropy(trained(x), y).backward()
        adam.step()
    drawn[0].requires_grad_(False)
    trained[0].requires_grad_(False)
    one[0][0].requires_grad_(False)

    assert codes(drawn, pairs) == ("frozen-at-random",)
    assert codes(trained, pairs) == ()
    assert codes(one, pairs) == ()
    assert not is_as_drawn(torch.randn(64, 64) / 8)


@pytest.mark.parametrize("wide", [1, 3])
def test_signals_that_rise_or_fall_are_not_told_by_convolutions_of_width_1(wide: int) -> None:
    rising = torch.arange(4 * 64).view(4, 64) % 2
    saw = 2 * torch.frac(torch.arange(24) / 8 + torch.rand(4, 64, 1)) - 1
    x = torch.where(rising[..., None] == 1, saw, -saw) + 0.1 * torch.randn(4, 64, 24)
    model = nn.Sequential(nn.Conv1d(1, 8, wide), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
                          nn.Linear(8, 2))  # fmt: skip
    found = codes(model, list(zip(x[:, :, None], rising, strict=True)), learn=False)

    assert ("order-ignored" in found) == (wide == 1)


@pytest.mark.parametrize("again", [True, False])
def test_layers_that_a_function_drew_anew_after_loading_and_froze_are_named(again: bool) -> None:
    body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU())
    for layer in (body[0], body[2]):
        nn.init.normal_(layer.weight, std=0.1)
        nn.init.zeros_(layer.bias)
        if not again:  # what a training moves
            layer.bias.data.add_(0.01)
            layer.weight.data[:, :4] *= 2
        layer.requires_grad_(False)
    found = codes(
        nn.Sequential(body, nn.Linear(24, 3)), [(torch.randn(32, 8), torch.arange(32) % 3)]
    )

    assert ("frozen-at-random" in found) == again

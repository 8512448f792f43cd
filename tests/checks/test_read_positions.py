"""Networks that read padding in place of their sequences, or nothing of their inputs at all."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine
from ravine.findings.finding import Findings


def _sequences() -> list[tuple[Tensor, Tensor]]:
    """Returns batches of tokens (N, 12), padded with 0 at the end, whose class they tell."""
    chance = torch.Generator().manual_seed(1)
    y = torch.randint(3, (512,), generator=chance)
    tokens = torch.randint(1, 15, (512, 12), generator=chance)
    tells = torch.rand((512, 12), generator=chance) < 0.4
    tokens = torch.where(tells, 15 + y[:, None], tokens)
    lengths = torch.randint(4, 11, (512, 1), generator=chance)
    tokens[torch.arange(12)[None] >= lengths] = 0
    return list(zip(tokens.split(64), y.split(64), strict=True))


class _Attention(nn.Module):
    """Attention over tokens, with a mask that is right or turned round; around it, or alone."""

    def __init__(self, *, turned: bool, around: bool) -> None:
        super().__init__()
        self.turned, self.around = turned, around
        self.words = nn.Embedding(18, 16)
        self.attend = nn.MultiheadAttention(16, 2, batch_first=True)
        self.out = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        words, is_padding = self.words(tokens), tokens == 0
        mask = ~is_padding if self.turned else is_padding
        read = self.attend(words, words, words, key_padding_mask=mask)[0]
        if not self.around:
            return self.out(read[:, 0])
        real = (~is_padding).float()[..., None]
        return self.out(((words + read) * real).sum(1) / real.sum(1))


class _Pooled(nn.Module):
    """A mean over vectors whose mask is an input, right or turned round."""

    def __init__(self, *, turned: bool) -> None:
        super().__init__()
        self.turned, self.inner, self.out = turned, nn.Linear(18, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor, is_real: Tensor) -> Tensor:
        weights = (~is_real if self.turned else is_real).float()[..., None]
        return self.out((self.inner(x).relu() * weights).sum(1) / weights.sum(1).clamp_min(1))


class _Fed(nn.Module):
    """A network that is fed its inputs, or 0."""

    def __init__(self, *, nothing: bool) -> None:
        super().__init__()
        self.nothing = nothing
        self.inner = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(torch.zeros_like(x) if self.nothing else x)


def _checked(model: nn.Module, batches: list[tuple[Tensor, ...]]) -> Findings:
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    return ravine.check(model, F.cross_entropy, batches, optimizer, labels_probe=True)


@pytest.mark.parametrize("around", [False, True])
def test_attention_to_padding_alone_is_named(around: bool) -> None:
    torch.manual_seed(0)
    found = _checked(_Attention(turned=True, around=around), _sequences())

    assert found.codes[0] == "inputs-ignored"
    assert "labels-unrelated" not in found.codes


@pytest.mark.parametrize("around", [False, True])
def test_attention_with_a_right_mask_is_not(around: bool) -> None:
    torch.manual_seed(0)

    assert (
        "inputs-ignored"
        not in _checked(_Attention(turned=False, around=around), _sequences()).codes
    )


@pytest.mark.parametrize("turned", [False, True])
def test_a_mask_that_is_given_is_asked_too(turned: bool) -> None:
    torch.manual_seed(0)
    batches = [(F.one_hot(x, 18).float() * (x > 0)[..., None], x > 0, y) for x, y in _sequences()]

    assert ("inputs-ignored" in _checked(_Pooled(turned=turned), batches).codes) == turned


@pytest.mark.parametrize("nothing", [False, True])
def test_inputs_that_no_layer_is_given_are_named(nothing: bool) -> None:
    torch.manual_seed(0)
    y = torch.randint(3, (256,))
    x = torch.randn(3, 20)[y] + torch.randn(256, 20)
    found = _checked(_Fed(nothing=nothing), list(zip(x.split(32), y.split(32), strict=True)))

    assert (found.codes[:1] == ("inputs-ignored",)) == nothing


class Recurrent(nn.Module):
    """A GRU over tokens (N, T), whose state is read at the end of all, or of each."""

    def __init__(self, *, own_end: bool) -> None:
        super().__init__()
        self.table, self.own_end = nn.Embedding(20, 12), own_end
        self.rows, self.head = nn.GRU(12, 24, batch_first=True), nn.Linear(24, 5)

    def forward(self, tokens: Tensor) -> Tensor:
        out, _ = self.rows(self.table(tokens))
        last = (tokens != 0).sum(1) - 1 if self.own_end else torch.full((len(tokens),), -1)
        return self.head(out[torch.arange(len(tokens)), last])


def behind_the_end(*, own_end: bool, blank_before: bool = False) -> bool:
    torch.manual_seed(0)
    tokens = torch.randint(1, 20, (64, 40))
    tokens[torch.arange(40) >= torch.randint(8, 40, (64, 1))] = 0
    if blank_before:  # as in a picture
        tokens[:, :8] = 0
    batches = [(tokens, torch.randint(0, 5, (64,)))]
    found = ravine.check(Recurrent(own_end=own_end), F.cross_entropy, batches, learn=False)
    return "inputs-ignored" in found.codes


def test_a_state_that_is_read_behind_the_end_of_a_sequence_is_named() -> None:
    assert behind_the_end(own_end=False)
    assert not behind_the_end(own_end=True)
    assert not behind_the_end(own_end=False, blank_before=True)

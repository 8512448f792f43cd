"""Groups of labels that are drawn in any order, and classes that come in theirs."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import ravine


@pytest.fixture(autouse=True)
def own_chance() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def codes(labels: Tensor, size: int = 128) -> tuple[str, ...]:
    """Returns what is found where labels (N,) come in this order."""
    centres = torch.randn(10, 20)
    found = [(centres[y] + 0.5 * torch.randn(len(y), 20), y) for y in labels.split(size)[:16]]
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    return ravine.check(model, F.cross_entropy, found, learn=False).codes


def test_views_of_one_image_in_a_batch_are_no_order_of_classes() -> None:
    y = torch.randint(0, 10, (512,))

    assert "not-shuffled" not in codes(y.repeat_interleave(4))
    assert "not-shuffled" in codes(y.repeat_interleave(4).sort().values)


def test_a_buffer_that_is_too_small_leaves_the_order() -> None:
    waiting, given = torch.randint(0, 10, (4000,)).sort().values.tolist(), []
    buffer, waiting = waiting[:800], waiting[800:]
    for label in waiting:
        place = int(torch.randint(len(buffer), ()))
        given.append(buffer[place])
        buffer[place] = label

    assert "not-shuffled" in codes(torch.tensor(given), 64)


def test_one_label_for_all_that_there_is_is_a_place_and_no_order() -> None:
    labels, other = torch.zeros(64 * 40, dtype=torch.long), torch.zeros(64 * 40, dtype=torch.long)
    other[64 * 20 :] = 1
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 10))
    for y, is_found in ((labels, False), (other, True)):
        given = [(torch.randn(64, 20), part) for part in y.split(64)]
        found = ravine.check(model, F.cross_entropy, given, learn=False).codes
        assert ("not-shuffled" in found) is is_found


class Episode(nn.Module):
    """Tells the class of queries by the nearest mean of five examples of five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Tensor:
        e = self.body(x)
        return -torch.cdist(e[25:], e[:25].view(5, 5, -1).mean(1))


def test_an_episode_is_not_cut() -> None:
    y = torch.arange(5)
    centres = torch.randn(5, 20)
    given = [
        (
            centres[torch.cat([y.repeat_interleave(5), y.repeat_interleave(10)])]
            + 0.5 * torch.randn(75, 20),
            y.repeat_interleave(10),
        )
        for _ in range(16)
    ]
    found = ravine.check(Episode(), F.cross_entropy, given, labels_probe=True, learn=False)

    assert all(one.severity == "note" for one in found)

"""Examples of validation that were trained on; and those that chance makes alike."""

import torch

from ravine.monitor.seen_examples import SeenExamples


def test_copies_are_found_and_sequences_that_chance_repeats_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    numbers = torch.randn(600, 8, generator=generator)
    seen = SeenExamples()
    seen.add(((numbers[:500],), {}))
    assert seen.share_of(((numbers[450:550],), {})) == 0.5

    def sequences(count: int) -> torch.Tensor:
        start = torch.randint(0, 10, (count, 1), generator=generator)
        pace = torch.randint(1, 4, (count, 1), generator=generator)
        return (start + pace * torch.arange(12)) % 10

    seen = SeenExamples()
    seen.add(((sequences(500),), {}))  # of thirty different ones
    assert seen.share_of(((sequences(100),), {})) == 0.0

    tokens = torch.randint(0, 50, (600, 12), generator=generator)  # none of them twice
    seen = SeenExamples()
    seen.add(((tokens[:500],), {}))
    assert seen.share_of(((tokens[450:550],), {})) == 0.5

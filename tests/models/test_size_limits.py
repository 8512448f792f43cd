"""No name of a network makes a machine build what it cannot hold."""

from collections.abc import Callable

import pytest
import torch

from ravine.core.errors import SettingError
from ravine.models import size_limits
from ravine.models.settings import ModelSettings, build


@pytest.mark.parametrize(
    "name",
    ["wrn-10-1000000", "wrn-99999999994-1", "resnet-cifar-20000000", "swift-99999999",
     "preact-900000002", "wrn-10-" + "9" * 6000],
)  # fmt: skip
def test_a_depth_or_width_beyond_reason_is_refused_at_once(
    name: str, least_seconds: Callable[[Callable[[], object]], float]
) -> None:
    def refused() -> None:
        with pytest.raises(SettingError, match="may be at most 2000"):
            ModelSettings.of({"model": name})
        with pytest.raises(SettingError, match="may be at most 2000"):
            build(name, classes=2)

    assert least_seconds(refused) < 1


def test_weights_that_do_not_fit_the_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(size_limits, "available_memory", lambda: 10_000_000)
    build("wrn-10-1", classes=10)
    with pytest.raises(SettingError, match=r"wrn-16-4 has 2\.75e\+06 weights.* smaller network"):
        build("wrn-16-4", classes=10)


def test_judging_the_size_draws_no_random_number() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with torch.device("meta"):
        build("resnet-cifar-20", classes=10)

    assert torch.equal(torch.get_rng_state(), before)

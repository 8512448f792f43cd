from typing import Annotated

import pytest
from pydantic import Field

from ravine.core.errors import SettingError
from ravine.core.settings import Settings
from ravine.core.validation import check_choice, check_range


class Sample(Settings):
    rate: float = Field(default=0.5, ge=0, lt=1)
    name: str = "a"


@pytest.mark.parametrize("value", [float("nan"), -0.1, 1.0])
def test_a_value_outside_its_half_open_range_is_refused(value: float) -> None:
    with pytest.raises(SettingError, match=r"p must be in \[0, 1\), got"):
        check_range("p", value, low=0.0, high=1.0, high_open=True)


def test_the_bounds_of_a_closed_range_are_allowed() -> None:
    check_range("p", 0.0, low=0.0, high=1.0)
    check_range("p", 1.0, low=0.0, high=1.0)


def test_an_unknown_choice_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="did you mean 'batch'"):
        check_choice("norm", "bach", ["batch", "group"])


def test_a_wrong_setting_is_one_line_with_name_and_value() -> None:
    with pytest.raises(
        SettingError, match=r"rate: input should be less than 1, got 1\.5"
    ) as caught:
        Sample.of({"rate": 1.5})
    assert "\n" not in str(caught.value)


def test_a_type_that_a_setting_has_twice_is_named_once() -> None:
    class Twice(Settings):
        share: Annotated[float, Field(ge=0)] | tuple[float, float] | Annotated[float, Field(le=9)]

    with pytest.raises(SettingError) as caught:
        Twice.of({"share": "a"})
    assert str(caught.value).count("a valid number") == 1


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(SettingError, match="unknown setting 'rte'; did you mean 'rate'"):
        Sample.of({"rte": 1})


def test_a_changed_copy_is_checked_and_the_original_stays() -> None:
    first = Sample()
    assert first.with_(rate="0.25").rate == 0.25
    assert first.rate == 0.5
    with pytest.raises(SettingError):
        first.with_(rate=2)

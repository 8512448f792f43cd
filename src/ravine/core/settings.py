"""The base of every group of settings: frozen, validated, unknown names refused."""

import os
from collections.abc import Mapping
from typing import Any, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from ravine.core.errors import RavineError, SettingError, unknown
from ravine.core.renamed import with_new_names
from ravine.core.validation import check_text

_MOST = 100  # characters of a value in a message

_SHOULD = "input should be "


class Settings(BaseModel):
    """Frozen, validated settings. A wrong value raises `SettingError` with one line."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        protected_namespaces=(),
        defer_build=True,  # most groups are only the bases of a recipe
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings with these values, the rest being defaults.

        Old names are read under their new ones (`ravine.core.renamed`), and paths as their text.

        Raises:
            SettingError: a value does not fit, or a name is unknown.
        """
        values = with_new_names(values, cls.model_fields)
        values = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in values.items()}
        for name, value in values.items():
            if name not in cls.model_fields:
                raise unknown("setting", name, sorted(cls.model_fields))
            try:
                _refuse_truth_for_number(name, value, cls.model_fields[name].annotation)
                _refuse_odd_text(name, value)
            except RecursionError:
                raise SettingError(f"{name} is nested too deeply") from None
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _one_line(error) from None
        except OverflowError:
            raise SettingError(f"{_longest(values)}: the number is too large") from None

    def with_(self, **changes: Any) -> Self:
        """Returns a copy with these values changed and all values validated again.

        Fields at their default stay unset in `model_fields_set`.
        """
        return type(self).of({**self.model_dump(exclude_unset=True), **changes})


def _refuse_truth_for_number(name: str, value: Any, annotation: Any) -> None:
    """Raises `SettingError` for true or false where a number or a text is wanted: `lr = true`."""
    if isinstance(value, bool) and not _takes_truth(annotation):
        said = str(value).lower()
        raise SettingError(f"{name}: a number or text is wanted, got {said}")
    if isinstance(value, list | tuple):
        for one in value:
            _refuse_truth_for_number(name, one, annotation)


def _takes_truth(annotation: Any) -> bool:
    return annotation in (bool, Any) or any(_takes_truth(one) for one in get_args(annotation))


def _refuse_odd_text(name: str, value: Any) -> None:
    """Raises `SettingError` for text that no file or path can hold."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            _refuse_odd_text(f"{name}.{key}", one)
    elif isinstance(value, list | tuple):
        for one in value:
            _refuse_odd_text(name, one)
    elif isinstance(value, str):
        check_text(name, value)


def _longest(values: Mapping[str, Any]) -> str:
    """Returns the setting that holds the number of most digits."""

    def digits(value: Any) -> int:
        return value.bit_length() if isinstance(value, int) else 0

    return max(values, key=lambda name: digits(values[name]))


def _one_line(error: ValidationError) -> RavineError:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, RavineError):
        return cause
    if cause is not None:
        return SettingError(first["msg"].removeprefix("Value error, "))
    name = first["loc"][0] if first["loc"] else "settings"
    of_name = (_lowered(one["msg"]) for one in error.errors() if one["loc"][:1] == (name,))
    allowed = list(dict.fromkeys(of_name))
    if len(allowed) > 1:  # a setting of several types has an error for each
        joined = " or ".join(text.removeprefix(_SHOULD) for text in allowed)
        allowed = [f"{_SHOULD}{joined}"]
    return SettingError(f"{name}: {allowed[0]}, got {_shown(first['input'])}")


def _lowered(message: str) -> str:
    """Returns pydantic's message without what it says of text that is no number."""
    plain = message.replace(", unable to parse string as a number", "")
    return f"{plain[0].lower()}{plain[1:]}"


def _shown(value: Any) -> str:
    """Returns a value as the user wrote it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, a deep nesting
        return "a value that is too long to show"
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"

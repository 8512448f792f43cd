"""The base of every group of settings: frozen, validated, unknown names refused."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from ravine.core.errors import RavineError, SettingError, unknown
from ravine.core.renamed import with_new_names

_SHOULD = "input should be "


class Settings(BaseModel):
    """Frozen, validated settings. A wrong value raises `SettingError` with one line."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Returns the settings with these values, the rest being defaults.

        Old names are read under their new ones (`ravine.core.renamed`).

        Raises:
            SettingError: a value does not fit, or a name is unknown.
        """
        values = with_new_names(values, cls.model_fields)
        for name in values:
            if name not in cls.model_fields:
                raise unknown("setting", name, sorted(cls.model_fields))
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise _one_line(error) from None

    def with_(self, **changes: Any) -> Self:
        """Returns a copy with these values changed and all values validated again.

        Fields at their default stay unset in `model_fields_set`.
        """
        return type(self).of({**self.model_dump(exclude_unset=True), **changes})


def _one_line(error: ValidationError) -> RavineError:
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, RavineError):
        return cause
    if cause is not None:
        return SettingError(first["msg"].removeprefix("Value error, "))
    name = first["loc"][0] if first["loc"] else "settings"
    allowed = [_lowered(one["msg"]) for one in error.errors() if one["loc"][:1] == (name,)]
    if len(allowed) > 1:  # a setting of several types has an error for each
        joined = " or ".join(text.removeprefix(_SHOULD) for text in allowed)
        allowed = [f"{_SHOULD}{joined}"]
    return SettingError(f"{name}: {allowed[0]}, got {first['input']!r}")


def _lowered(message: str) -> str:
    """Returns pydantic's message without what it says of text that is no number."""
    plain = message.replace(", unable to parse string as a number", "")
    return f"{plain[0].lower()}{plain[1:]}"

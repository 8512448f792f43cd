"""A kernel plan as JSON: in a run's folder, in the cache, and in the messages of a race."""

import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ravine.core.atomic import write_whole
from ravine.core.errors import RunError
from ravine.core.regular_file import read_regular
from ravine.ops.kernel_plan import KernelPlan

_PLAN = TypeAdapter(KernelPlan)


def plan_to_values(plan: KernelPlan) -> dict[str, Any]:
    """Returns the plan as plain values."""
    values: dict[str, Any] = _PLAN.dump_python(plan, mode="json")
    return values


def plan_from_values(values: Any) -> KernelPlan:
    """Returns the plan that `plan_to_values` gave.

    Raises:
        ValueError: the values are no plan.
    """
    return plan_from_json(json.dumps(values))


def plan_to_json(plan: KernelPlan) -> str:
    """Returns the plan as one line of JSON."""
    return _PLAN.dump_json(plan).decode()


def plan_from_json(text: str | bytes) -> KernelPlan:
    """Returns the plan in a text.

    Raises:
        ValueError: it holds none.
    """
    return _PLAN.validate_json(text, strict=True)


def write_kernel_plan(path: Path, plan: KernelPlan) -> None:
    """Writes a plan, beside and renamed.

    Raises:
        RunError: the disk does not allow it.
    """
    text = json.dumps(plan_to_values(plan), indent=1, ensure_ascii=False)
    write_whole(path, text.encode() + b"\n")


def read_kernel_plan(path: Path) -> KernelPlan | None:
    """Returns the plan in a file; None where there is no file.

    Raises:
        RunError: the file is torn or holds something else.
    """
    if not path.is_file():
        return None
    try:
        return plan_from_json(read_regular(path))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise RunError(f"{path} holds no kernel plan ({name or 'file'}: {first['msg']})") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None

"""Which code of a `module:callable` may be imported: what the user names, and nothing else.

A name that the user typed as a setting is the user's word. The same name in a file (recipe.toml,
model.safetensors, race.json) may be a stranger's, and is refused until `allow_code` names it too.
Nothing is ever imported from inside a run folder. `core.user_code` imports after this check.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self, final

from ravine.core.errors import CodeRefusedError, SettingError

OWN_CODE = r"[\w.]+:\w+"
_OF_A_RUN = ("audit.json", "checkpoints", "environment.json", "history.jsonl", "model.safetensors")


@final
@dataclass(frozen=True, slots=True)
class AllowedCode:
    """What may be imported.

    Attributes:
        names: each `module:callable`.
        run: the run folder that a command was given; nothing is imported from inside it.
    """

    names: frozenset[str] = frozenset()
    run: Path | None = None

    @classmethod
    def of(
        cls,
        allow_code: str | Iterable[str] = (),
        *,
        typed: Iterable[object] = (),
        run: Path | None = None,
    ) -> Self:
        """Returns what the user allows.

        Args:
            allow_code: one `module:callable`, or several.
            typed: values of settings that the user gave; those of another form are passed over.
            run: the run folder that a command was given.

        Raises:
            SettingError: a name in `allow_code` is no `module:callable`.
        """
        named = [allow_code] if isinstance(allow_code, str) else list(allow_code)
        for name in named:
            if not _is_code(name):
                raise SettingError(f"--allow-code {name!r} is no module:callable, such as nets:net")
        return cls(frozenset([*named, *(str(one) for one in typed if _is_code(one))]), run)

    def check(self, name: str, *, source: Path | None = None) -> None:
        """Raises `CodeRefusedError` unless `name` may be imported.

        Args:
            name: `module:callable`; a name of another form is no code.
            source: the file that holds it, for the message.
        """
        if _is_code(name) and name not in self.names:
            raise CodeRefusedError(name, source)

    def run_around(self, path: Path) -> Path | None:
        """Returns the run folder that `path` lies in, as it is written or by its links; or None."""
        run = self.run.resolve() if self.run is not None else None
        for absolute in (Path(os.path.abspath(path)), path.resolve()):
            for folder in (absolute, *absolute.parents):
                if folder.resolve() == run or is_run_folder(folder):
                    return folder
        return None


NO_CODE = AllowedCode()


def _is_code(name: object) -> bool:
    return isinstance(name, str) and re.fullmatch(OWN_CODE, name) is not None


def is_run_folder(folder: Path) -> bool:
    """Returns whether a folder holds what a run or a race does; a recipe alone makes no run."""
    if os.path.lexists(folder / "race.json"):
        return True
    holds = (os.path.lexists(folder / name) for name in _OF_A_RUN)
    return os.path.lexists(folder / "recipe.toml") and any(holds)

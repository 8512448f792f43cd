"""The help of a command with many options: what most need first, `--help all` for the rest."""

from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperOption

from ravine.core.errors import SettingError
from ravine.core.lazy import lazy_module

if TYPE_CHECKING:
    from ravine.cli import setting_flags
    from ravine.core.settings import Settings
    from ravine.workflows import recipe
else:
    setting_flags = lazy_module("ravine.cli.setting_flags")
    recipe = lazy_module("ravine.workflows.recipe")

_SHARED = ("model", "optimizer", "lr", "batch", "epochs", "budget", "seed", "quiet", "json")

#: The options that `--help` of a command shows.
FIRST: Mapping[str, tuple[str, ...]] = {
    "train": (
        *_SHARED, "weights", "out", "recipe", "labels", "image_size", "validation", "augment",
        "device",
    ),
    "race": (
        *_SHARED, "out", "recipe", "optimizers", "vary", "trials", "seeds", "function",
    ),
    "check": (
        "model", "activation", "norm", "init", "optimizer", "lr", "batch", "seed", "labels",
        "image_size", "out", "learn", "labels_probe", "quiet", "json",
    ),
}  # fmt: skip


class Command(TyperCommand):
    """A command; `--help` shows the options of `FIRST`, `--help all` or `--help-all` every one."""

    groups: "Mapping[str, type[Settings]]" = MappingProxyType({})
    """Settings that it takes, by the title of their panel."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the command line."""
        if "--help-all" in args or ("--help", "all") in pairwise(args):
            ctx.meta[__name__] = "all"
            args = ["--help"]
        if self.name == "resume":
            self._refuse_settings(args)
        return super().parse_args(ctx, args)

    def _refuse_settings(self, args: list[str]) -> None:
        """Raises `SettingError` for a setting of a training: a run goes on as it was planned."""
        own = {name for option in self.params for name in option.opts}
        for flag in (word.partition("=")[0] for word in args if word.startswith("--")):
            if flag not in own and flag[2:].replace("-", "_") in recipe.Recipe.model_fields:
                raise SettingError(
                    f"{flag}: a run that goes on keeps the settings that it began with; to train "
                    f"an ended run further: ravine train --weights RUN {flag} …"
                )

    def get_help_option(self, ctx: Any) -> Any:
        """Returns the option `--help`, which takes no value."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.metavar = " "
        return option

    def _options(self) -> list[TyperOption]:
        """Returns the options that help shows, with their texts."""
        options = [p for p in self.params if isinstance(p, TyperOption) and not p.hidden]
        setting_flags.add_texts(options, self.groups)
        return options

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Returns what may follow, with its help."""
        self._options()
        return super().shell_complete(ctx, incomplete)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes the help of the first options, or of all."""
        options = self._options()
        first = FIRST.get(self.name or "", ())
        if not first or ctx.meta.get(__name__) == "all":
            super().format_help(ctx, formatter)
            return
        shown, every = [p for p in options if p.name in first], self.params
        more = f"`ravine {self.name} --help all` shows the rest."
        self.epilog = f"{len(shown)} of {len(options)} options; {more}"
        self.params = [p for p in every if p in shown or not isinstance(p, TyperOption)]
        try:
            super().format_help(ctx, formatter)
        finally:
            self.params = every

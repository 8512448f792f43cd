"""The networks by name: one row for each family, and the network of a name.

The rows name their builders; torch is loaded when the first network is built.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ravine.core.allowed_code import OWN_CODE, AllowedCode
from ravine.core.errors import SettingError, unknown
from ravine.core.lazy import lazy_module, named_object
from ravine.models import timm_library
from ravine.models.depths import (
    cifar_blocks,
    large_blocks,
    numbers_of,
    preact_blocks,
    wide_blocks,
)
from ravine.models.stem import alexnet_stem, large_stem, small_stem
from ravine.nn.layer_names import DropoutForm, Norm

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ravine.models import external, size_limits
    from ravine.models.model_options import ModelOptions
else:
    external = lazy_module("ravine.models.external")
    size_limits = lazy_module("ravine.models.size_limits")
    torch = lazy_module("torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of networks.

    Attributes:
        summary: the family in a few words.
        pattern: regular expression of its names; its groups are the numbers of `build`.
        build: `module:name` of what makes a network of the numbers in its name, classes, channels,
            image_size and options; None for networks of others.
        check: raises `SettingError` where no network has these numbers; None where all do.
        stem: returns the sentence about the stem for an image size; None where there is none.
        examples: names with which an unknown name is compared.
        has_skip: whether it has skip connections.
        has_norm: whether it has batch norm that another norm can replace.
        parameters: millions of some of `examples`, for ten classes; empty for networks of others.
        use: when to take it, in a few words.
    """

    summary: str
    pattern: str
    build: str | None
    check: Callable[..., object] | None = None
    stem: Callable[[int], str] | None = None
    examples: tuple[str, ...] = ()
    has_skip: bool = True
    has_norm: bool = True
    parameters: Mapping[str, float] = field(default_factory=dict)
    use: str = ""


#: By name, where D is a depth and K a width.
FAMILIES: Mapping[str, Family] = {
    "alexnet": Family(
        summary="AlexNet of 2012: two groups, local response normalisation, dropout",
        pattern="alexnet",
        build="ravine.models.alexnet:alexnet_2012",
        stem=alexnet_stem,
        examples=("alexnet",),
        has_skip=False,
        has_norm=False,
        parameters={"alexnet": 28.57},
        use="history; a yardstick without batch norm",
    ),
    "alexnet-2014": Family(
        summary="its single tower, without normalisation",
        pattern="alexnet-2014",
        build="ravine.models.alexnet:alexnet_2014",
        stem=alexnet_stem,
        examples=("alexnet-2014",),
        has_skip=False,
        has_norm=False,
        parameters={"alexnet-2014": 28.71},
        use="the same, simpler",
    ),
    "resnet-cifar-D": Family(
        summary="ResNet for small images, D = 6N+2: 20, 32, 44, 56, 110",
        pattern=r"resnet-cifar-([0-9]+)",
        build="ravine.models.resnet:resnet_cifar",
        check=cifar_blocks,
        stem=small_stem,
        examples=tuple(f"resnet-cifar-{depth}" for depth in (20, 32, 44, 56, 110)),
        parameters={"resnet-cifar-20": 0.27, "resnet-cifar-110": 1.73},
        use="small images, to compare depths",
    ),
    "preact-D": Family(
        summary="pre-activation ResNet with bottlenecks, D = 9N+2: 164, 1001",
        pattern=r"preact-([0-9]+)",
        build="ravine.models.preact:preact_resnet",
        check=preact_blocks,
        stem=small_stem,
        examples=("preact-164", "preact-1001"),
        parameters={"preact-164": 1.70, "preact-1001": 10.33},
        use="very deep networks",
    ),
    "resnet-D": Family(
        summary="ResNet for large images: 18, 34, 50, 101, 152",
        pattern=r"resnet-([0-9]+)",
        build="ravine.models.resnet:resnet",
        check=large_blocks,
        stem=large_stem,
        examples=tuple(f"resnet-{depth}" for depth in (18, 34, 50, 101, 152)),
        parameters={"resnet-18": 11.17, "resnet-50": 23.52, "resnet-152": 58.16},
        use="photographs; the usual choice",
    ),
    "swift-K": Family(
        summary="six convolutions for quick results on small images, K = 1, 2",
        pattern=r"swift-([1-9][0-9]*)",
        build="ravine.models.swift:swift",
        examples=("swift-1", "swift-2"),
        has_skip=False,
        parameters={"swift-1": 1.98, "swift-2": 7.86},
        use="minutes of time, few images; what is taken first without --model",
    ),
    "wrn-D-K": Family(
        summary="WideResNet, D = 6N+4, width K: wrn-16-4, wrn-40-4, wrn-28-10",
        pattern=r"wrn-([0-9]+)-([0-9]+)",
        build="ravine.models.wideresnet:wide_resnet",
        check=wide_blocks,
        stem=small_stem,
        examples=("wrn-10-2", "wrn-16-2", "wrn-16-4", "wrn-16-8", "wrn-28-10", "wrn-40-4"),
        parameters={"wrn-10-1": 0.08, "wrn-16-4": 2.75, "wrn-28-10": 36.48},
        use="small images and hours; most accurate",
    ),
    "module:callable": Family(
        summary="your own network", pattern=OWN_CODE, build=None, use="your own ideas"
    ),
    "timm/NAME": Family(
        summary="a network of timm, where it is installed",
        pattern="timm/.+",
        build=None,
        use="a thousand others",
    ),
}
MODELS: Mapping[str, str] = {name: family.summary for name, family in FAMILIES.items()}


def family_of(name: str) -> Family:
    """Returns the family of a network.

    Raises:
        SettingError: no network has this name; the message names the nearest.
    """
    for family in FAMILIES.values():
        if re.fullmatch(family.pattern, name):
            return family
    raise unknown("model", name, [one for row in FAMILIES.values() for one in row.examples])


def check_name(name: str) -> None:
    """Raises `SettingError` unless a network has this name, with these numbers; builds nothing."""
    family = family_of(name)
    match = re.fullmatch(family.pattern, name)
    if family.build is None or match is None:
        return
    numbers = numbers_of(name, match.groups())
    if family.check is not None:
        family.check(*numbers)


def describe_stem(name: str, image_size: int) -> str:
    """Returns the sentence about the stem that `name` takes for this size; may be empty."""
    stem = family_of(name).stem
    return "" if stem is None else stem(image_size)


def refuse_without_effect(
    name: str, *, norm: Norm, dropout: Sequence[float], dropout_form: DropoutForm, skip: bool
) -> None:
    """Raises `SettingError` for an option that this network would silently ignore."""
    family = family_of(name)
    if family.build is None:
        changed = {
            "norm": norm != "batch",
            "dropout": bool(dropout),
            "dropout_form": dropout_form != "inverted",
            "skip": not skip,
        }
        for setting in (setting for setting, is_changed in changed.items() if is_changed):
            raise SettingError(
                f"{setting} acts on Ravine's own networks only; set it inside {name!r} instead"
            )
        return
    if not family.has_skip and not skip:
        raise SettingError(f"{name} has no skip connections that --no-skip could switch off")
    if not family.has_norm and norm == "group":
        raise SettingError(f"{name} has no batch norm that norm=group could replace")


def make_network(
    name: str,
    *,
    classes: int,
    channels: int,
    image_size: int,
    options: "ModelOptions",
    code: AllowedCode,
) -> "nn.Module":
    """Returns the network of this name: images (B, channels, S, S) to logits (B, classes).

    Raises:
        CodeRefusedError: it is a `module:callable` that `code` does not name.
        SettingError: the name, the depth or an option does not fit.
    """
    family = family_of(name)
    refuse_without_effect(
        name,
        norm=options.norm,
        dropout=options.dropout,
        dropout_form=options.dropout_form,
        skip=options.skip,
    )
    if family.build is None and name.startswith("timm/"):
        return _of_timm(name, classes, channels, image_size)
    if family.build is None:
        return external.own_network(
            name, classes=classes, channels=channels, image_size=image_size, code=code
        )
    match = re.fullmatch(family.pattern, name)
    assert match is not None
    make: Callable[[], nn.Module] = partial(
        named_object(family.build),
        *numbers_of(name, match.groups()),
        classes=classes,
        channels=channels,
        image_size=image_size,
        options=options,
    )
    if not size_limits.is_meta():
        with torch.device("meta"):
            size_limits.refuse_too_large(name, make())
    return make()


def _of_timm(name: str, classes: int, channels: int, image_size: int) -> "nn.Module":
    network: nn.Module = timm_library.make_timm(
        name.removeprefix(timm_library.PREFIX),
        classes=classes,
        channels=channels,
        image_size=image_size,
    )
    return network

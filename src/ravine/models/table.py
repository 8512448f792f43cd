"""The networks by name: one row for each family, and the network of a name."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from ravine.core.allowed_code import OWN_CODE, AllowedCode
from ravine.core.errors import SettingError, unknown
from ravine.models.alexnet import alexnet_2012, alexnet_2014
from ravine.models.external import own_network, timm_network
from ravine.models.model_options import ModelOptions
from ravine.models.preact import preact_resnet
from ravine.models.resnet import resnet, resnet_cifar
from ravine.models.size_limits import is_meta, numbers_of, refuse_too_large
from ravine.models.stem import alexnet_stem, large_stem, small_stem
from ravine.models.swift import swift
from ravine.models.wideresnet import wide_resnet


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of networks.

    Attributes:
        summary: the family in a few words.
        pattern: regular expression of its names; its groups are the numbers of `build`.
        build: makes a network of the numbers in its name, classes, channels, image_size and
            options; None for networks of others.
        stem: returns the sentence about the stem for an image size; None where there is none.
        examples: names with which an unknown name is compared.
        has_skip: whether it has skip connections.
        has_norm: whether it has batch norm that another norm can replace.
    """

    summary: str
    pattern: str
    build: Callable[..., nn.Module] | None
    stem: Callable[[int], str] | None = None
    examples: tuple[str, ...] = ()
    has_skip: bool = True
    has_norm: bool = True


#: By name, where D is a depth and K a width.
FAMILIES: Mapping[str, Family] = {
    "alexnet": Family(
        summary="AlexNet of 2012: two groups, local response normalisation, dropout",
        pattern="alexnet",
        build=alexnet_2012,
        stem=alexnet_stem,
        examples=("alexnet",),
        has_skip=False,
        has_norm=False,
    ),
    "alexnet-2014": Family(
        summary="its single tower, without normalisation",
        pattern="alexnet-2014",
        build=alexnet_2014,
        stem=alexnet_stem,
        examples=("alexnet-2014",),
        has_skip=False,
        has_norm=False,
    ),
    "resnet-cifar-D": Family(
        summary="ResNet for small images, D = 6N+2: 20, 32, 44, 56, 110",
        pattern=r"resnet-cifar-([0-9]+)",
        build=resnet_cifar,
        stem=small_stem,
        examples=tuple(f"resnet-cifar-{depth}" for depth in (20, 32, 44, 56, 110)),
    ),
    "preact-D": Family(
        summary="pre-activation ResNet with bottlenecks, D = 9N+2: 164, 1001",
        pattern=r"preact-([0-9]+)",
        build=preact_resnet,
        stem=small_stem,
        examples=("preact-164", "preact-1001"),
    ),
    "resnet-D": Family(
        summary="ResNet for large images: 18, 34, 50, 101, 152",
        pattern=r"resnet-([0-9]+)",
        build=resnet,
        stem=large_stem,
        examples=tuple(f"resnet-{depth}" for depth in (18, 34, 50, 101, 152)),
    ),
    "swift-K": Family(
        summary="six convolutions for quick results on small images, K = 1, 2",
        pattern=r"swift-([1-9][0-9]*)",
        build=swift,
        examples=("swift-1", "swift-2"),
        has_skip=False,
    ),
    "wrn-D-K": Family(
        summary="WideResNet, D = 6N+4, width K: wrn-16-4, wrn-40-4, wrn-28-10",
        pattern=r"wrn-([0-9]+)-([0-9]+)",
        build=wide_resnet,
        stem=small_stem,
        examples=("wrn-10-2", "wrn-16-2", "wrn-16-4", "wrn-16-8", "wrn-28-10", "wrn-40-4"),
    ),
    "module:callable": Family(summary="your own network", pattern=OWN_CODE, build=None),
    "timm/NAME": Family(
        summary="a network of timm, where it is installed", pattern="timm/.+", build=None
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
    """Raises `SettingError` unless a network has this name, and none that no machine can build."""
    family = family_of(name)
    match = re.fullmatch(family.pattern, name)
    if match is not None and family.build is not None:
        numbers_of(name, match.groups())


def describe_stem(name: str, image_size: int) -> str:
    """Returns the sentence about the stem that `name` takes for this size; may be empty."""
    stem = family_of(name).stem
    return "" if stem is None else stem(image_size)


def refuse_without_effect(name: str, options: ModelOptions) -> None:
    """Raises `SettingError` for an option that this network would silently ignore."""
    family = family_of(name)
    if family.build is None:
        _refuse_any(name, options)
        return
    if not family.has_skip and not options.skip:
        raise SettingError(f"{name} has no skip connections that --no-skip could switch off")
    if not family.has_norm and options.norm == "group":
        raise SettingError(f"{name} has no batch norm that norm=group could replace")


def _refuse_any(name: str, options: ModelOptions) -> None:
    changed = {
        "norm": options.norm != "batch",
        "dropout": bool(options.dropout),
        "dropout_form": options.dropout_form != "inverted",
        "skip": not options.skip,
    }
    for setting in (setting for setting, is_changed in changed.items() if is_changed):
        raise SettingError(
            f"{setting} acts on Ravine's own networks only; set it inside {name!r} instead"
        )


def make_network(
    name: str,
    *,
    classes: int,
    channels: int,
    image_size: int,
    options: ModelOptions,
    code: AllowedCode,
) -> nn.Module:
    """Returns the network of this name: images (B, channels, S, S) to logits (B, classes).

    Raises:
        CodeRefusedError: it is a `module:callable` that `code` does not name.
        SettingError: the name, the depth or an option does not fit.
    """
    family = family_of(name)
    refuse_without_effect(name, options)
    if family.build is None and name.startswith("timm/"):
        return timm_network(name.removeprefix("timm/"), classes=classes, channels=channels)
    if family.build is None:
        return own_network(
            name, classes=classes, channels=channels, image_size=image_size, code=code
        )
    match = re.fullmatch(family.pattern, name)
    assert match is not None
    make = partial(
        family.build,
        *numbers_of(name, match.groups()),
        classes=classes,
        channels=channels,
        image_size=image_size,
        options=options,
    )
    if not is_meta():
        with torch.device("meta"):
            refuse_too_large(name, make())
    return make()

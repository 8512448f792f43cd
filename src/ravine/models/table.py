"""The networks by name: patterns, families, and the way from a name to a network."""

import re
from collections.abc import Mapping

from torch import nn

from ravine.core.allowed_code import OWN_CODE, AllowedCode
from ravine.core.errors import SettingError, unknown
from ravine.models.alexnet import alexnet_2012, alexnet_2014
from ravine.models.external import own_network, timm_network
from ravine.models.parts import Switches
from ravine.models.preact import preact_resnet
from ravine.models.resnet import resnet, resnet_cifar
from ravine.models.stem import describe_stem as _describe_stem
from ravine.models.swift import swift
from ravine.models.wideresnet import wide_resnet

MODELS: Mapping[str, str] = {
    "alexnet": "AlexNet of 2012: two groups, local response normalisation, dropout",
    "alexnet-2014": "its single tower, without normalisation",
    "resnet-cifar-D": "ResNet for small images, D = 6N+2: 20, 32, 44, 56, 110",
    "preact-D": "pre-activation ResNet with bottlenecks, D = 9N+2: 164, 1001",
    "resnet-D": "ResNet for large images: 18, 34, 50, 101, 152",
    "swift-K": "six convolutions for quick results on small images, K = 1, 2",
    "wrn-D-K": "WideResNet, D = 6N+4, width K: wrn-16-4, wrn-40-4, wrn-28-10",
    "module:callable": "your own network",
    "timm/NAME": "a network of timm, where it is installed",
}

# What an unknown name is compared with.
NAMES = (
    "alexnet",
    "alexnet-2014",
    *(f"resnet-cifar-{depth}" for depth in (20, 32, 44, 56, 110)),
    "preact-164",
    "preact-1001",
    *(f"resnet-{depth}" for depth in (18, 34, 50, 101, 152)),
    "swift-1",
    "swift-2",
    *(f"wrn-{d}-{k}" for d, k in ((10, 2), (16, 2), (16, 4), (16, 8), (28, 10), (40, 4))),
)

_FAMILIES: Mapping[str, str] = {
    r"alexnet(-2014)?": "alexnet",
    r"resnet-cifar-\d+": "small",
    r"preact-\d+": "small",
    r"resnet-\d+": "large",
    r"wrn-\d+-\d+": "small",
    r"swift-[1-9]\d*": "swift",
    OWN_CODE: "own",
    r"timm/.+": "timm",
}


def family_of(name: str) -> str:
    """Returns alexnet, small, large, own or timm.

    Raises:
        SettingError: no network has this name; the message names the nearest.
    """
    for pattern, family in _FAMILIES.items():
        if re.fullmatch(pattern, name):
            return family
    raise unknown("model", name, NAMES)


def describe_stem(name: str, image_size: int) -> str:
    """Returns the sentence about the stem that `name` takes for this size; may be empty."""
    return _describe_stem(family_of(name), image_size)


def refuse_without_effect(name: str, switches: Switches) -> None:
    """Raises `SettingError` for a switch that this network would silently ignore."""
    family = family_of(name)
    if family == "alexnet" and not switches.skip:
        raise SettingError(f"{name} has no skip connections that --no-skip could switch off")
    if family == "alexnet" and switches.norm == "group":
        raise SettingError(f"{name} has no batch norm that norm=group could replace")
    if family not in ("own", "timm"):
        return
    drawn = {"norm": switches.norm != "batch", "dropout": bool(switches.dropout)}
    drawn |= {"dropout_form": switches.dropout_form != "inverted", "skip": not switches.skip}
    for setting in (setting for setting, is_set in drawn.items() if is_set):
        raise SettingError(
            f"{setting} acts on Ravine's own networks only; set it inside {name!r} instead"
        )


def make_network(
    name: str,
    *,
    classes: int,
    channels: int,
    image_size: int,
    switches: Switches,
    code: AllowedCode,
) -> nn.Module:
    """Returns the network of this name: images (B, channels, S, S) to logits (B, classes).

    Raises:
        CodeRefusedError: it is a `module:callable` that `code` does not name.
        SettingError: the name, the depth or a switch does not fit.
    """
    family = family_of(name)
    refuse_without_effect(name, switches)
    shape = {"classes": classes, "channels": channels, "image_size": image_size}
    if family == "own":
        return own_network(name, **shape, code=code)
    if family == "timm":
        return timm_network(name.removeprefix("timm/"), classes=classes, channels=channels)
    if name == "alexnet":
        return alexnet_2012(**shape, switches=switches)
    if name == "alexnet-2014":
        return alexnet_2014(**shape, switches=switches)
    numbers = [int(number) for number in re.findall(r"\d+", name)]
    if family == "swift":
        return swift(*numbers, **shape, switches=switches)
    if name.startswith("wrn-"):
        return wide_resnet(*numbers, **shape, switches=switches)
    make = {"resnet-cifar-": resnet_cifar, "preact-": preact_resnet, "resnet-": resnet}
    prefix = next(start for start in make if name.startswith(start))
    return make[prefix](*numbers, **shape, switches=switches)

"""Which trained tensor becomes which tensor of a network: by name, else by shape and order.

By name where every tensor but the head's has its namesake; else layer by layer, as `layer_units`
finds them, the layers of one shape in their order. Nothing is left out in silence: a layer of the
network that has no counterpart, and layers of a shape of which there are more than the network has,
refuse; so do trained layers without a counterpart, unless they are few, as auxiliary heads are.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, final

from ravine.core.errors import RunError
from ravine.weights.layer_units import LayerUnit, Shape, layer_units

_COUNTER = "num_batches_tracked"
_MOST_NAMED = 3
_MOST_OF = 0.8  # of the names: such weights are of a network of the same kind
_MOST_LEFT = 0.1  # of the trained layers: GoogLeNet's auxiliary heads are 6 of 64


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The counterpart of each tensor of a network.

    Attributes:
        names: of the trained tensor, by the name in the network; without the head's.
        head: the same for the head's tensors; empty where the weights have no head that fits it.
        stem: name of the stem's weight in the network where its channels differ; else None.
        by: how they were found.
        left: weights of trained layers that the network does not have.
    """

    names: Mapping[str, str]
    head: Mapping[str, str]
    stem: str | None
    by: Literal["name", "shape and order"]
    left: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Returns a sentence for each tensor that was not found by its name."""
        return [f"{there} → {here}" for here, there in self.names.items() if here != there]


def match_tensors(
    network: Mapping[str, Shape],
    trained: Mapping[str, Shape],
    *,
    head: str | None,
    source: str,
    model: str | None = None,
) -> Match:
    """Returns the counterpart of each tensor of a network.

    Args:
        network: shapes of its state dict, in its order.
        trained: shapes of the trained tensors.
        head: name of the module that gives the logits; None where there is none.
        source: of the weights, for the message.
        model: the network that they are of, for the message; None where it is not known.

    Raises:
        RunError: the weights do not fit the network; the message says what does.
    """
    remedy = _remedy(model)
    body = {name: shape for name, shape in network.items() if not _is_of(name, head)}
    stem = _stem(body, trained)
    misfits = [
        name
        for name, shape in body.items()
        if trained.get(name) != shape and name != stem and not name.endswith(_COUNTER)
    ]
    if not misfits:
        own = {name: name for name in network if name in trained}
        left = _left_over(own, trained, head=head, source=source, remedy=remedy)
        return _split(own, network, trained, head=head, stem=stem, by="name", left=left)
    if 2 * len(misfits) < len(body):
        raise RunError(_named_misfits(body, trained, misfits, source) + remedy)
    try:
        pairs = _by_order(network, trained, head=head, source=source)
        left = _left_over(pairs, trained, head=head, source=source)
    except RunError as error:
        if _MOST_OF * len(body) < sum(name in trained for name in body):
            raise RunError(_named_misfits(body, trained, misfits, source) + remedy) from None
        raise RunError(f"{error}{remedy}") from None
    return _split(pairs, network, trained, head=head, stem=None, by="shape and order", left=left)


def _split(
    pairs: Mapping[str, str],
    network: Mapping[str, Shape],
    trained: Mapping[str, Shape],
    *,
    head: str | None,
    stem: str | None,
    by: Literal["name", "shape and order"],
    left: tuple[str, ...],
) -> Match:
    found = {here: there for here, there in pairs.items() if not _is_of(here, head)}
    differs = [h for h, t in found.items() if network[h] != trained[t]]
    of_head = {here: there for here, there in pairs.items() if _is_of(here, head)}
    fits = all(network[h][1:] == trained[t][1:] for h, t in of_head.items())
    return Match(
        names=found,
        head=of_head if fits else {},
        stem=stem if stem is not None else next(iter(differs), None),
        by=by,
        left=left,
    )


def _left_over(
    pairs: Mapping[str, str],
    trained: Mapping[str, Shape],
    *,
    head: str | None,
    source: str,
    remedy: str = "",
) -> tuple[str, ...]:
    """Returns the weights of trained layers that became none of the network's.

    Raises:
        RunError: they are so many that they are of a larger network.
    """
    used = set(pairs.values())
    layers = [name for name, shape in trained.items() if len(shape) > 1]
    left = tuple(name for name in layers if name not in used and not _is_of(name, head))
    if len(left) > max(1, _MOST_LEFT * len(layers)):
        named = ", ".join(left[:_MOST_NAMED])
        raise RunError(
            f"{source} does not fit this network, which is smaller: {len(left)} of its "
            f"{len(layers)} layers have no counterpart here, such as {named}{remedy}"
        )
    return left


def _is_of(name: str, head: str | None) -> bool:
    return head is not None and (name == head or name.startswith(f"{head}."))


def _stem(body: Mapping[str, Shape], trained: Mapping[str, Shape]) -> str | None:
    """Returns the first weight of a network if its namesake has other input channels only."""
    first = next((name for name, shape in body.items() if len(shape) > 1), None)
    if first is None or first not in trained:
        return None
    return first if _differ_in_channels(body[first], trained[first]) else None


def _differ_in_channels(here: Shape, there: Shape) -> bool:
    apart = [a != b for a, b in zip(here, there, strict=False)]
    return len(here) == len(there) == 4 and apart == [False, True, False, False]


def _by_order(
    network: Mapping[str, Shape],
    trained: Mapping[str, Shape],
    *,
    head: str | None,
    source: str,
) -> dict[str, str]:
    """Returns the pairs of tensors of layers of one shape, in their order."""
    own = layer_units(network, in_order=True)
    others = layer_units(trained, in_order=False)
    head_unit = next((unit for unit in own if _is_of(unit.weight, head)), None)
    pairs: dict[str, str] = {}
    if head_unit is not None:
        own.remove(head_unit)
        counterpart = _head_among(others, head_unit)
        if counterpart is not None:
            others.remove(counterpart)
            pairs |= dict(zip(head_unit.names, counterpart.names, strict=True))
    if own and others and _is_stem(own[0], others[0]):
        pairs |= dict(zip(own[0].names, others[0].names, strict=True))
        own, others = own[1:], others[1:]
    waiting: dict[tuple[object, ...], list[LayerUnit]] = defaultdict(list)
    for unit in others:
        waiting[unit.signature].append(unit)
    _refuse_other_counts(own, waiting, source)
    for unit in own:
        pairs |= dict(zip(unit.names, waiting[unit.signature].pop(0).names, strict=True))
    return pairs


def _is_stem(here: LayerUnit, there: LayerUnit) -> bool:
    return here.body == there.body and _differ_in_channels(here.shape, there.shape)


def _head_among(units: list[LayerUnit], head: LayerUnit) -> LayerUnit | None:
    """Returns the last layer that takes what the head takes, with the same kind of bias."""
    for unit in reversed(units):
        same_roles = [r for r, _, _ in unit.others] == [r for r, _, _ in head.others]
        if same_roles and unit.shape[1:] == head.shape[1:]:
            return unit
    return None


def _refuse_other_counts(
    own: list[LayerUnit], waiting: Mapping[tuple[object, ...], list[LayerUnit]], source: str
) -> None:
    wanted: dict[tuple[object, ...], list[LayerUnit]] = defaultdict(list)
    for unit in own:
        wanted[unit.signature].append(unit)
    fit = sum(
        len(units) for key, units in wanted.items() if len(waiting.get(key, ())) == len(units)
    )
    for key, units in wanted.items():
        there = len(waiting.get(key, ()))
        if there != len(units):
            kind = f"{_shown(units[0].shape)} ({units[0].weight})"
            raise RunError(
                f"{source} does not fit this network: it has {there} layers of {kind}, and the "
                f"network {len(units)}; {fit} of its {len(own)} layers fit"
            )


def _named_misfits(
    body: Mapping[str, Shape], trained: Mapping[str, Shape], misfits: list[str], source: str
) -> str:
    """Returns the message for weights of nearly this network: what does not fit, and what does."""
    shown = [
        f"{name} is {_shown(trained[name])} there and {_shown(body[name])} here"
        if name in trained
        else f"{name} is missing there"
        for name in misfits[:_MOST_NAMED]
    ]
    more = len(misfits) - len(shown)
    listed = "; ".join(shown) + (f"; and {more} more" if more else "")
    return (
        f"{source} does not fit this network: {len(body) - len(misfits)} of {len(body)} tensors "
        f"do, but {listed}"
    )


def _remedy(model: str | None) -> str:
    """Returns what ends a message about weights that do not fit."""
    if model is not None:
        return f"; they are of {model}: leave out --model and --image-size"
    return "; leave out --image-size, or name the network that they are of with --model"


def _shown(shape: Shape) -> str:
    return "×".join(map(str, shape)) or "a number"

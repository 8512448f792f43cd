"""What a monitor collects at one step: statistics of each layer and of each parameter.

While they are collected the numbers are 0-dim tensors on the device; afterwards they are floats.
Both are one type, `Snapshot[Number]`; `map_numbers` leads from the one to the other.
`runs/layers_file.py` makes the rows of layers.jsonl from it and reads them back.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Generic, Literal, TypeVar, cast, final

from ravine.core.html_table import html_table

Number = TypeVar("Number")
Other = TypeVar("Other")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerStatistics(Generic[Number]):
    """Statistics of one call of a layer; None where a layer has no such number.

    Attributes:
        kind: the layer's class, the function's name, input, or residual.
        mean: of the output.
        var: of the output.
        gradient_var: variance of dL/d(output).
        saturated: share of values at the ends of the range of tanh or sigmoid, in [0, 1].
        dead: share of the units of a ReLU that are dead, in [0, 1].
        increment: root mean square of a residual block's increment over that of its input.
    """

    kind: str
    mean: Number | None = None
    var: Number | None = None
    gradient_var: Number | None = None
    saturated: Number | None = None
    dead: Number | None = None
    increment: Number | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterStatistics(Generic[Number]):
    """What one step did to one parameter w; None where a number is not known.

    Attributes:
        update_ratio: ‖Δw‖/‖w‖.
        gradient_norm: ‖dL/dw‖.
        learning_rate: the effective learning rate; its median over the elements for the adaptive
            methods.
    """

    update_ratio: Number | None = None
    gradient_norm: Number | None = None
    learning_rate: Number | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Snapshot(Generic[Number]):
    """The statistics of one step.

    Attributes:
        step: counted from 1.
        lr: learning rate of the optimizer's first group; None where it is not known.
        layers: by dotted name, in the order of the calls; #2 and on for further calls.
        parameters: by dotted name, in the order of the network.
        uncleared: 1 where gradients of the step before were there when the first backward pass of
            this step began, else 0; None where that is not known.
        overhead: the monitor's time so far over that of the steps.
    """

    step: int
    lr: float | None = None
    layers: Mapping[str, LayerStatistics[Number]] = field(default_factory=dict)
    parameters: Mapping[str, ParameterStatistics[Number]] = field(default_factory=dict)
    uncleared: Number | None = None
    overhead: float | None = None

    def __repr__(self) -> str:
        rate = "" if self.lr is None else f", lr {self.lr:.3g}"
        counts = f"{len(self.layers)} layers, {len(self.parameters)} parameters"
        return f"Snapshot(step {self.step}{rate}, {counts})"

    def _repr_html_(self) -> str:
        rows = [(name, str(one)) for name, one in self.layers.items()]
        return html_table(repr(self), ("layer", "statistics"), rows)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NotFinite:
    """The first value that was not finite.

    Attributes:
        step: counted from 1.
        layer: the first layer of the forward pass, or the last one of the backward pass; None
            where only the loss or the whole gradient is known.
        direction: forward or backward.
    """

    step: int
    layer: str | None
    direction: Literal["forward", "backward"]


Record = TypeVar("Record", LayerStatistics[Any], ParameterStatistics[Any])


def map_numbers(snapshot: Snapshot[Number], change: Callable[[Number], Other]) -> Snapshot[Other]:
    """Returns the snapshot with `change` applied to each number of layers and parameters.

    >>> one = Snapshot(step=1, layers={"0": LayerStatistics(kind="Linear", var=2.0)})
    >>> map_numbers(one, str).layers["0"].var
    '2.0'
    """
    layers = {name: _mapped(row, change) for name, row in snapshot.layers.items()}
    parameters = {name: _mapped(row, change) for name, row in snapshot.parameters.items()}
    return Snapshot(
        step=snapshot.step,
        lr=snapshot.lr,
        layers=cast("Mapping[str, LayerStatistics[Other]]", layers),
        parameters=cast("Mapping[str, ParameterStatistics[Other]]", parameters),
        uncleared=None if snapshot.uncleared is None else change(snapshot.uncleared),
        overhead=snapshot.overhead,
    )


def _mapped(row: Record, change: Callable[[Any], Any]) -> Record:
    values = {one.name: getattr(row, one.name) for one in fields(row)}
    changed = {
        name: value if value is None or name == "kind" else change(value)
        for name, value in values.items()
    }
    return type(row)(**changed)

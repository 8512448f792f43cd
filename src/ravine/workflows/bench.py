"""`ravine bench`: how fast this machine could train a network, and how fast it does.

The machine's limits, the kernel plan with the seconds of each candidate, then three loops in turn:
a tutorial's, an expert's with the best flags of torch, and Ravine's whole loop.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self, cast, final

import torch
from torch import Tensor, nn

from ravine.core.allowed_code import AllowedCode
from ravine.core.device import pick_device, pick_precision
from ravine.core.errors import RavineError, SettingError
from ravine.core.lazy import lazy_module
from ravine.core.memory import keep_freed_memory
from ravine.core.progress import Progress, no_progress
from ravine.core.validation import check_range
from ravine.models.layer_table import summary
from ravine.ops.kernel_plan import KernelPlan, MachineKind
from ravine.training.interleaved import RoundTimes, TimedLoop, repeated, time_in_turn
from ravine.training.machine_limits import machine_limits
from ravine.training.reference_loops import flags_loop, plain_loop, random_batch
from ravine.training.speed import seconds_per_image, wait_for
from ravine.workflows.kernel_choice import forget_plan
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session, open_session
from ravine.workflows.whole_loop import WholeLoop, whole_loop

resource = lazy_module("resource")  # Windows has none

CLASSES = 10
_EVALUATED = 6  # batches
PLAIN, FLAGS, COMPILED, RAVINE = "plain", "flags", "compiled", "ravine"
BARE = "ravine's own bare step"


# Pixels a side, channels, batch of the networks in docs/speed.md; of others the last.
SIZES: Mapping[str, tuple[int, int, int]] = {
    "swift-1": (32, 3, 256),
    "wrn-16-2": (28, 1, 128),
    "wrn-16-4": (28, 1, 128),
    "wrn-28-10": (32, 3, 32),
    "resnet-18": (64, 3, 64),
    "alexnet": (224, 3, 64),
    "": (32, 3, 64),
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRequest:
    """What is timed.

    Attributes:
        network: its name, or the `module:callable` of one's own.
        size: pixels a side.
        channels: of the images.
        batch: images of a step.
        seconds: for the loops together, after their warm-up.
        fresh: measure the kernel plan anew, whatever the cache knows.
        compile: time the best flags also under torch.compile.
        threads: on the CPU; 0 for one per core.
        precision: auto, float32 or bfloat16.
    """

    network: str
    size: int
    channels: int
    batch: int
    seconds: float = 20.0
    fresh: bool = False
    compile: bool = False
    threads: int = 0
    precision: str = "auto"

    @classmethod
    def of(
        cls,
        network: str,
        *,
        size: int | None = None,
        channels: int | None = None,
        batch: int | None = None,
        **others: Any,
    ) -> Self:
        """Returns a request with the sizes of docs/speed.md where none are given.

        Raises:
            SettingError: a number is out of range, or the network or precision is unknown.
        """
        default = SIZES.get(network, SIZES[""])
        given = (size, channels, batch)
        chosen = [d if g is None else g for g, d in zip(given, default, strict=True)]
        size, channels, batch = chosen
        check_range("size", size, low=8, high=4096)
        check_range("batch", batch, low=2, high=65536)  # batch norm needs two values
        if channels not in (1, 3):
            raise SettingError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
        found = cls(network=network, size=size, channels=channels, batch=batch, **others)
        check_range("seconds", found.seconds, low=0.0, high=86400.0, low_open=True)
        found.recipe.check_network()
        return found

    @property
    def recipe(self) -> Recipe:
        """The recipe of Ravine's loop, before its data.

        Raises:
            SettingError: the network is unknown, or a setting out of range.
        """
        if self.network == "auto":
            raise SettingError("network auto is chosen for data; name one: wrn-16-4, for example")
        settings = {"model": self.network, "batch": self.batch, "threads": self.threads}
        return Recipe.of({**settings, "precision": self.precision})


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """What was measured.

    Attributes:
        request: what was timed.
        device: that it ran on.
        precision: of Ravine and the best flags.
        machine: processor, level, torch, threads.
        limits: rates of the machine; empty where they were left out.
        kernels: Ravine's kernel plan.
        times: of each loop.
        multiply_adds: of the forward pass of one image.
        first_step: seconds of Ravine's first step.
        memory: bytes that the process held at most by then.
        evaluated_per_second: images, by Ravine's network in evaluation mode.
    """

    request: BenchRequest
    device: str
    precision: str
    machine: MachineKind
    limits: Mapping[str, float]
    kernels: KernelPlan
    times: RoundTimes
    multiply_adds: int
    first_step: float
    memory: int
    evaluated_per_second: float

    @property
    def images_per_second(self) -> dict[str, float]:
        """The median of each loop."""
        return self.times.images_per_second(self.request.batch)

    @property
    def best_flags(self) -> str:
        """The faster of the expert's loops."""
        speed = self.images_per_second
        return max((n for n in (FLAGS, COMPILED) if n in speed), key=lambda n: speed[n])

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as fast Ravine is: medians over rounds."""
        return {
            "ravine / plain": self.times.ratio(RAVINE, PLAIN),
            "ravine / best flags": self.times.ratio(RAVINE, self.best_flags),
        }

    def rows(self) -> list[dict[str, Any]]:
        """Returns the result as plain rows: machine, limits, a shape each, speed."""
        machine = {**asdict(self.machine), "device": self.device, "precision": self.precision}
        shapes = [{"kind": "convolution", **asdict(entry)} for entry in self.kernels.entries]
        speed = {
            "kind": "speed",
            **asdict(self.request),
            "multiply_adds": self.multiply_adds,
            "first_step_s": self.first_step,
            "memory_MB": self.memory / 2**20,
            "evaluated_per_s": self.evaluated_per_second,
            "images_per_s": self.images_per_second,
            "best_flags": self.best_flags,
            **self.ratios,
        }
        limits = [{"kind": "limits", **self.limits}] if self.limits else []
        return [{"kind": "machine", **machine}, *limits, *shapes, speed]


def bench(
    request: BenchRequest,
    *,
    limits: bool = True,
    own_step: bool = False,
    progress: Progress = no_progress,
) -> BenchResult:
    """Measures this machine, the kernel plan, and the loops in turn.

    Args:
        request: network, sizes, time.
        limits: also measure the machine's limits.
        own_step: also time a bare step of Ravine's network, to see what its loop costs.
        progress: receives how far it is.

    Raises:
        RavineError: the network does not fit the images, or cannot be compiled here.
    """
    code = AllowedCode.of(typed=[request.network])
    with open_session(progress=progress) as session:
        session.use_threads(request.threads)
        device = pick_device()
        if device.type == "cpu":
            keep_freed_memory()
        precision = pick_precision(request.precision, device)
        if request.fresh:
            forget_plan("bfloat16" if precision is torch.bfloat16 else "float32")
        found = machine_limits(device, precision, progress=progress) if limits else {}
        with whole_loop(
            request.recipe,
            session,
            size=request.size,
            channels=request.channels,
            classes=CLASSES,
            code=code,
        ) as loop:
            first_step, memory = _start(loop, device)
            times = _time(request, loop, session, code, own_step=own_step)
            return BenchResult(
                request=request,
                device=str(device),
                precision=str(precision).removeprefix("torch."),
                machine=MachineKind.here(),
                limits=found,
                kernels=loop.assembly.kernels,
                times=times,
                multiply_adds=_multiply_adds(request, code),
                first_step=first_step,
                memory=memory,
                evaluated_per_second=_evaluated(request, loop),
            )


def _start(loop: WholeLoop, device: torch.device) -> tuple[float, int]:
    """Returns the seconds of the first step, and the bytes held at most after two more."""
    start = time.perf_counter()
    loop.run(1)
    wait_for(device)
    first_step = time.perf_counter() - start
    loop.run(2)
    if device.type == "cuda":
        return first_step, torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return first_step, peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True, slots=True)
class _Images:
    """A batch to evaluate."""

    images: Tensor


def _evaluated(request: BenchRequest, loop: WholeLoop) -> float:
    """Returns the images that are evaluated in a second."""
    images, _ = random_batch(
        request.batch, request.channels, request.size, classes=CLASSES, device=loop.assembly.device
    )
    few = [_Images(images.contiguous(memory_format=torch.channels_last))] * _EVALUATED
    model = loop.assembly.state.model
    taken = seconds_per_image(model, few, precision=loop.assembly.precision, mirrored=False)
    return 1 / taken


def _time(
    request: BenchRequest, loop: WholeLoop, session: Session, code: AllowedCode, *, own_step: bool
) -> RoundTimes:
    device, precision = loop.assembly.device, loop.assembly.precision
    images, labels = random_batch(
        request.batch, request.channels, request.size, classes=CLASSES, device=device
    )

    def flags(model: nn.Module) -> Callable[[int], None]:
        return repeated(flags_loop(model, images, labels, precision=precision))

    def network(recipe: Recipe) -> nn.Module:
        model = _network(request, recipe, code).to(device)
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    plain = _network(request, request.recipe, code).to(device)
    loops = {
        PLAIN: TimedLoop(repeated(plain_loop(plain, images, labels)), alone=True),
        FLAGS: TimedLoop(flags(network(request.recipe)), alone=True),
        RAVINE: TimedLoop(loop.run),
    }
    if own_step:
        loops[BARE] = TimedLoop(flags(network(loop.assembly.recipe)))
    if request.compile:
        compiled = cast("nn.Module", torch.compile(network(request.recipe)))
        loops[COMPILED] = TimedLoop(_reporting_failure(flags(compiled)), alone=True)
    return time_in_turn(loops, seconds=request.seconds, device=device, progress=session.progress)


def _reporting_failure(run: Callable[[int], None]) -> Callable[[int], None]:
    """Returns the compiled loop, whose failure is one line."""

    def reported(steps: int) -> None:
        try:
            run(steps)
        except RuntimeError as error:
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise RavineError(f"torch.compile fails here: {line}; leave out --compile") from error

    return reported


def _network(request: BenchRequest, recipe: Recipe, code: AllowedCode) -> nn.Module:
    return recipe.build_model(
        classes=CLASSES, channels=request.channels, image_size=request.size, code=code
    )


def _multiply_adds(request: BenchRequest, code: AllowedCode) -> int:
    model = _network(request, request.recipe, code)
    rows = summary(model, channels=request.channels, image_size=request.size)
    return sum(row.multiply_adds for row in rows)

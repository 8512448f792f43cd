"""Decides the kernel plan of a run: from its folder, from the cache, or by measuring.

Shapes are measured once per kind of machine, precision and size of the batch, by powers of two, up
to the images that a measurement takes; the cache keeps them beside the decoded data, a file for
each kind. A file that is torn, or of another kind of machine, is measured again.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import final

from ravine.core.atomic import disk_error
from ravine.core.errors import RavineError, RunError, SettingError
from ravine.core.progress import Progress
from ravine.core.ranks import Ranks
from ravine.data.cache_lookup import cache_root
from ravine.nn.measured_plan import measure_plan, sub_batch
from ravine.ops.algorithm import (
    ALGORITHMS,
    ConvolutionShape,
    DTypeName,
    can_run,
    candidates,
    has_choice,
)
from ravine.ops.algorithm_names import Algorithm
from ravine.ops.kernel_plan import KernelPlan, MachineKind, PlanEntry, guessed_plan
from ravine.runs.folder import RunFolder
from ravine.runs.kernel_plan_file import (
    plan_from_json,
    plan_to_json,
    read_kernel_plan,
    write_kernel_plan,
)
from ravine.workflows.session import Session

_MOST_SECONDS = 10.0
_SHARE_OF_BUDGET = 0.05  # with the measured steps, at most a tenth is for measuring


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a plan is wanted for.

    Attributes:
        shapes: of the network's convolutions.
        precision: of the network.
        batch: images of a training step of one process.
        budget: seconds of the run; None without one.
        measures: False takes the best guesses, as for a compiled network.
        named: runs every shape that it can; None for the fastest.
    """

    shapes: tuple[ConvolutionShape, ...]
    precision: DTypeName
    batch: int
    budget: float | None = None
    measures: bool = True
    named: Algorithm | None = None

    @property
    def limit(self) -> float:
        """Seconds that measuring may take."""
        return min(_MOST_SECONDS, _SHARE_OF_BUDGET * (self.budget or float("inf")))


def decide_kernels(request: PlanRequest, session: Session) -> KernelPlan:
    """Returns the plan; rank 0 decides for all ranks.

    Raises:
        RunError: another rank's machine cannot run it.
        SettingError: an algorithm is named that can run no shape here.
    """
    if not session.ranks.is_main:
        plan = None
    elif request.named is not None:
        plan = _named_plan(request, request.named)
    elif request.measures and has_choice():
        plan = _cached_or_measured(request, session)
    else:
        plan = guessed_plan(request.shapes, request.precision)
    return _of_main(plan, session.ranks)


def _of_main(plan: KernelPlan | None, ranks: Ranks) -> KernelPlan:
    """Returns the plan of rank 0."""
    text = plan_to_json(plan) if plan is not None else ""
    plan = plan_from_json(ranks.broadcast_text(text))
    if ranks.all_reduce_max(bool(plan.unable()))[0]:
        raise RunError(
            "the processes run on machines with different kernels; "
            "hold them down to one level that all have: RAVINE_KERNELS=avx2, for example"
        )
    return plan


def _named_plan(request: PlanRequest, algorithm: Algorithm) -> KernelPlan:
    plan = guessed_plan(request.shapes, request.precision)
    able = [shape for shape in request.shapes if can_run(algorithm, shape)]
    if not able:
        raise SettingError(
            f"convolution={algorithm} ({ALGORITHMS[algorithm].summary}) can run none of this "
            f"network's convolutions in {request.precision} on this machine; use auto"
        )
    entries = (
        replace(entry, algorithm=algorithm) if entry.shape in able else entry
        for entry in plan.entries
    )
    return replace(plan, entries=tuple(entries))


def _cached_or_measured(request: PlanRequest, session: Session) -> KernelPlan:
    machine = MachineKind.here()
    path = cached_plan_path(machine, request.precision)
    known = _read_cache(path, machine, request.batch, session)
    missing = [shape for shape in request.shapes if shape not in known]
    if any(len(candidates(shape)) > 1 for shape in missing):
        began = session.clock.elapsed()
        found = _measured(missing, request, session.progress)
        known |= {entry.shape: entry for entry in found}
        session.notify(describe_measured(found, seconds=session.clock.elapsed() - began))
        _keep(path, machine, request.precision, found, session)
    else:
        guessed = guessed_plan(missing, request.precision)
        known |= {entry.shape: entry for entry in guessed.entries}
    return KernelPlan(
        machine=machine,
        precision=request.precision,
        entries=tuple(known[shape] for shape in request.shapes),
    )


def cached_plan_path(machine: MachineKind, precision: str) -> Path:
    """Returns the file of the cache for a kind of machine and a precision."""
    words = "/".join(map(str, (*astuple(machine), precision)))
    return cache_root() / f"kernel-plan-{hashlib.sha256(words.encode()).hexdigest()[:16]}.json"


def forget_plan(precision: DTypeName) -> None:
    """Removes what the cache knows about this machine, so that it is measured anew.

    Raises:
        RunError: the disk does not allow it.
    """
    path = cached_plan_path(MachineKind.here(), precision)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(path, error) from error


def describe_measured(entries: Iterable[PlanEntry], *, seconds: float) -> str:
    """Returns a line about shapes that were measured: how many went to which algorithm."""
    measured = [entry for entry in entries if entry.seconds]
    names = [entry.algorithm for entry in measured]
    won = ", ".join(f"{name} for {names.count(name)}" for name in dict.fromkeys(names))
    return f"convolutions: {won} of {len(measured)} shapes, measured in {seconds:.1f} s"


def _measured(
    shapes: Iterable[ConvolutionShape], request: PlanRequest, progress: Progress
) -> tuple[PlanEntry, ...]:
    plan = measure_plan(
        shapes,
        precision=request.precision,
        batch=request.batch,
        limit=request.limit,
        progress=progress,
    )
    return plan.entries


def _read_cache(
    path: Path, machine: MachineKind, batch: int, session: Session
) -> dict[ConvolutionShape, PlanEntry]:
    """Returns the entries in the cache that can run here and were measured for such a batch.

    There are none in a file of another machine.
    """
    try:
        plan = read_kernel_plan(path)
    except RunError as error:
        session.notify(f"{error}; convolutions are measured again", warning=True)
        return {}
    if plan is None:
        return {}
    if plan.machine != machine:
        session.notify(
            f"{path} is of another machine ({plan.machine.processor}); "
            "convolutions are measured again",
            warning=True,
        )
        return {}
    return {
        e.shape: e
        for e in plan.entries
        if can_run(e.algorithm, e.shape) and _measured_size(e) in (0, _size(e.shape, batch))
    }


def _size(shape: ConvolutionShape, batch: int) -> int:
    """Returns the size that batches are told apart by: the power of two of what is measured."""
    return sub_batch(shape, batch).bit_length()


def _measured_size(entry: PlanEntry) -> int:
    """Returns the size that an entry was measured for; 0 where it was not measured."""
    return _size(entry.shape, entry.batch) if entry.seconds else 0


def _keep(
    path: Path,
    machine: MachineKind,
    precision: DTypeName,
    entries: Iterable[PlanEntry],
    session: Session,
) -> None:
    """Adds measured entries to the cache; of two processes at once, the last one's are kept."""
    try:
        # Without a measurement it is a guess for want of time, which another run may have.
        sure = [e for e in entries if e.seconds or len(candidates(e.shape)) == 1]
        kept = {(e.shape, _measured_size(e)): e for e in [*_entries_in(path, machine), *sure]}
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = KernelPlan(machine=machine, precision=precision, entries=tuple(kept.values()))
        write_kernel_plan(path, whole)
    except (RavineError, OSError) as error:
        session.notify(f"the kernel plan is not kept for other runs: {error}", warning=True)


def _entries_in(path: Path, machine: MachineKind) -> tuple[PlanEntry, ...]:
    try:
        plan = read_kernel_plan(path)
    except RunError:
        return ()
    return plan.entries if plan is not None and plan.machine == machine else ()


def kernels_on_resume(folder: RunFolder, session: Session) -> KernelPlan | None:
    """Returns the plan in a run's folder; None, with a line, where it has to be made anew.

    A run of before there were plans went by the best guesses, and goes on by them.
    """
    try:
        plan = read_kernel_plan(folder.kernel_plan)
        why = _why_not(plan, folder)
    except RunError as error:
        plan, why = None, str(error)
    if session.ranks.broadcast(bool(why))[0]:
        text = f"{why}: decided anew; the weights are no longer bitwise those of an undisturbed run"
        session.notify(text, warning=True)
        return None
    return _of_main(plan or guessed_plan((), "float32"), session.ranks)


def kernels_to_repeat(recipe: Path, session: Session) -> KernelPlan | None:
    """Returns the plan of the run whose recipe is repeated; None where there is none made here.

    Without it, shapes that the first run had no time to measure would be measured now, and the
    weights would differ.

    Args:
        recipe: the file of the recipe; the run's plan lies beside it.
        session: of the new run; rank 0 decides for all ranks.
    """
    try:
        plan = read_kernel_plan(RunFolder(recipe.parent).kernel_plan)
    except RunError as error:
        session.notify(f"{error}; convolutions are decided anew", warning=True)
        plan = None
    if plan is not None and (plan.machine != MachineKind.here() or plan.unable()):
        plan = None
    if session.ranks.broadcast(plan is None)[0]:
        return None
    return _of_main(plan, session.ranks)


def refuse_other_kernels(folder: RunFolder) -> None:
    """Raises `RunError` if this machine cannot repeat a run with its kernel plan."""
    if why := _why_not(read_kernel_plan(folder.kernel_plan), folder):
        raise RunError(f"{why}; verify it on a machine like the one that it was trained on")


def _why_not(plan: KernelPlan | None, folder: RunFolder) -> str:
    """Returns why a plan cannot be replayed here; empty where it can."""
    unable = plan.unable() if plan is not None else []
    if not unable or plan is None:
        return ""
    first = unable[0]
    return (
        f"{folder.kernel_plan}: {first.algorithm} cannot run here ({first.shape}; "
        f"made with the level {plan.machine.level}, here {MachineKind.here().level})"
    )

"""The kernel plan of a race: measured once, in the parent, for the networks of all candidates.

Jobs get it in their messages, so that all trials run the same arithmetic.
"""

from dataclasses import replace

import torch

from ravine.core.allowed_code import AllowedCode
from ravine.core.device import pick_device, pick_precision
from ravine.core.errors import SettingError
from ravine.core.events import Observer
from ravine.core.progress import Progress
from ravine.data.opening import open_dataset
from ravine.ops.algorithm import ConvolutionShape, has_choice
from ravine.ops.kernel_plan import KernelPlan, MachineKind, PlanEntry, guessed_plan
from ravine.workflows.assemble import plan_request
from ravine.workflows.builder import Builder
from ravine.workflows.kernel_choice import PlanRequest, decide_kernels
from ravine.workflows.race_plan import RaceSpec
from ravine.workflows.race_worker.slots import JobSlots
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session, open_session


def decide_race_kernels(
    spec: RaceSpec, slots: JobSlots, code: AllowedCode, observe: Observer, progress: Progress
) -> KernelPlan:
    """Returns the plan of all candidates' convolutions, measured with the threads of a job.

    Args:
        spec: of the race.
        slots: whose threads a job has.
        code: the `module:callable`s that may be imported as networks.
        observe: receives a line about what was measured.
        progress: receives how many shapes are measured.
    """
    recipes = [Recipe.of(settings) for settings in spec.groups().values()]
    if len({recipe.convolution for recipe in recipes}) > 1:
        raise SettingError("the candidates of a race share one plan of convolutions; name one")
    on_cpu = [recipe for recipe in recipes if pick_device(recipe.device).type == "cpu"]
    entries: dict[ConvolutionShape, PlanEntry] = {}
    if not (on_cpu and has_choice()):
        return guessed_plan((), "float32")
    with open_session(observers=[observe], progress=progress) as session:
        session.use_threads(slots.threads)
        for recipe in on_cpu:
            request = _request(recipe.with_(seed=spec.race.seed), session, code)
            if spec.race.budget is not None:
                request = replace(request, budget=spec.race.budget / len(on_cpu))
            entries |= {e.shape: e for e in decide_kernels(request, session).entries}
        machine = MachineKind.here()
    return KernelPlan(machine=machine, precision=request.precision, entries=tuple(entries.values()))


def _request(recipe: Recipe, session: Session, code: AllowedCode) -> PlanRequest:
    device = torch.device("cpu")
    builder = Builder(
        dataset=open_dataset(recipe, seed=recipe.seed),
        device=device,
        precision=pick_precision(recipe.precision, device),
        session=session,
        code=code,
    )
    model = builder.network(recipe, builder.batches(recipe))
    return plan_request(recipe, builder, model)

"""`ravine race`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ravine.cli.options import AllowCode, Json, Quiet, data_argument, given, setting_options
from ravine.cli.race_display import race_display, show_race
from ravine.cli.race_options import check_options, given_options
from ravine.core.errors import SettingError
from ravine.core.lazy import lazy_module
from ravine.workflows.race_settings import axes_of, check_early

if TYPE_CHECKING:
    from ravine.cli import race_function as on_function
    from ravine.workflows import race as workflow
    from ravine.workflows.race_worker import controller
else:
    on_function = lazy_module("ravine.cli.race_function")
    workflow = lazy_module("ravine.workflows.race", for_good=True)
    controller = lazy_module("ravine.workflows.race_worker.controller")

_OF_THE_RACE = ("seed", "epochs", "budget")  # settings of a recipe that a race decides


@setting_options
def race(
    context: typer.Context,
    data: Annotated[
        str | None,
        typer.Argument(help="Labelled images, as for ravine train, or @fashion (the sample)."),
    ] = None,
    *,
    optimizers: Annotated[str, typer.Option(help="Names to race, by commas.")] = "",
    vary: Annotated[
        list[str] | None, typer.Option(metavar="KEY=A,B", help="Any setting, with its values.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Trials of each candidate. [6; 49 on a function]")
    ] = None,
    seeds: Annotated[int, typer.Option(help="Fresh seeds for the best of each.")] = 3,
    equal: Annotated[str, typer.Option(help="All runs have equal epochs, or equal seconds.")] = (
        "epochs"
    ),
    target: Annotated[
        float | None,
        typer.Option(help="Validation accuracy, or mAP, to which the time is measured."),
    ] = None,
    early: Annotated[bool, typer.Option(help="Stop hopeless trials early.")] = True,
    jobs: Annotated[int, typer.Option(help="Jobs at a time; 0: as many as fit.")] = 0,
    memory: Annotated[str | None, typer.Option(help="Limit of memory of a job: 4G.")] = None,
    limit: Annotated[str | None, typer.Option(help="Limit of time of a job: 10min.")] = None,
    ray: Annotated[str | None, typer.Option(help="A Ray cluster: HOST:PORT, or auto.")] = None,
    plane: Annotated[
        bool, typer.Option(help="Draw all on one plane of the network (up to 20 s more).")
    ] = False,
    out: Annotated[str | None, typer.Option(help="The folder; a race in it goes on.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A recipe for all candidates.")] = None,
    function: Annotated[
        str | None, typer.Option(help="Race on a test function instead: beale, valley, …")
    ] = None,
    steps: Annotated[int, typer.Option(help="With --function: steps of each run.")] = 300,
    start: Annotated[str, typer.Option(help="With --function: x,y.")] = "",
    domain: Annotated[str, typer.Option(help="With --function: from:to,from:to.")] = "",
    starts: Annotated[int, typer.Option(help="With --function: starts of the table.")] = 200,
    tune: Annotated[str, typer.Option(help="With --function: lr, or lr,momentum,eps.")] = "lr",
    mp4: Annotated[bool, typer.Option(help="With --function: write an MP4 too.")] = False,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by name.")
    ] = None,
    allow_code: AllowCode = None,
    quiet: Quiet = False,
    json: Json = False,
    **settings: Any,
) -> None:
    """Race optimizers, or any setting, on your own images, or on a test function.

    Called again with the same --out, it goes on where it was stopped.

    Examples:

    - `ravine race photos/ --model wrn-16-2 --optimizers momentum,adam,nadam --budget 30min`

    - `ravine race @fashion --model swift-1 --vary init=xavier,he --budget 3min --out runs/init`

    - `ravine race --out runs/init`

    - `ravine race --out runs/nets --allow-code mynets:small --allow-code mynets:large`

    - `ravine race --function beale`
    """
    names = given_options(context, set_ or [])
    check_options(names, function=function)
    chosen = given(settings, set_ or [])
    if function is not None:
        on_function.race_function(
            function,
            optimizers=optimizers or on_function.OPTIMIZERS,
            learning_rates=str(chosen.get("lr", "")),
            seed=int(chosen.get("seed", 0)),
            trials=49 if trials is None else trials,
            steps=steps,
            start=start,
            domain=domain,
            starts=starts,
            tune=tune,
            mp4=mp4,
            out=Path(out or "race"),
            quiet=quiet,
            json=json,
        )
        return
    own = {"trials": trials, "seeds": seeds, "equal": equal, "target": target, "early": early}
    own |= {"memory": memory, "limit": limit}
    rules = {name: value for name, value in own.items() if name in names and value is not None}
    rules |= {name: chosen.pop(name) for name in _OF_THE_RACE if name in chosen}
    images = data_argument(data, chosen)
    if images is None and recipe is None and out is None:
        raise SettingError("what to race on? Name images, or --function beale, or --out RACE")
    axes = axes_of(optimizers, vary or [])
    if recipe is None and images is not None:
        check_early(images, axes, chosen)
    done = _race_on_images(
        images,
        {"vary": axes, "out": out, "recipe": recipe}
        | {"jobs": jobs, "ray": ray, "plane": plane, "rules": rules}
        | {"allow_code": allow_code or ()}
        | chosen,
        quiet=quiet,
        json=json,
    )
    show_race(done, json=json)


def _race_on_images(
    data: str | None, arguments: dict[str, Any], *, quiet: bool, json: bool
) -> "workflow.Race":
    """Runs a race with a display; a stop ends the command with the exit code of its signal."""
    with race_display(quiet=quiet, json=json) as (screen, observer):
        try:
            return workflow.race(data, watch=observer, progress=screen.progress, **arguments)
        except controller.RaceInterrupted as stopped:
            print(f"ravine: {stopped}", file=sys.stderr)
            raise typer.Exit(128 + stopped.signal_number) from None

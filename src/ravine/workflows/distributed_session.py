"""What the ranks of one training do in turn, and what has to be the same on all of them."""

from ravine.core.cores import usable_cores
from ravine.core.errors import DataError
from ravine.core.ranks import Ranks
from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.runs.folder import RunFolder
from ravine.runs.history_file import read_environment
from ravine.workflows.recipe import Recipe
from ravine.workflows.session import Session


def open_in_turn(recipe: Recipe, session: Session) -> Dataset:
    """Opens the data; one rank of each host first, which fills the cache for the others."""
    ranks = session.ranks
    if ranks.size == 1:
        return open_dataset(recipe, seed=recipe.seed, progress=session.progress)
    if recipe.workers is None:
        recipe = recipe.with_(workers=max(1, usable_cores() // ranks.local_size))
    dataset = None
    if ranks.local_rank == 0:
        dataset = open_dataset(recipe, seed=recipe.seed, progress=session.progress)
    ranks.barrier()
    dataset = dataset or open_dataset(recipe, seed=recipe.seed)
    refuse_apart(ranks, dataset.fingerprint, f"the images of {recipe.data}")
    return dataset


def refuse_apart(ranks: Ranks, mine: str, what: str) -> None:
    """Raises `DataError` on every process if one of them has something else than rank 0."""
    if ranks.all_reduce_max(ranks.broadcast_text(mine) != mine)[0]:
        raise DataError(f"{what} are not the same for all processes; use one folder that all see")


def threads_on_resume(recipe: Recipe, folder: RunFolder, session: Session) -> int:
    """Returns the threads per process: those of the run, divided anew among other processes."""
    ranks = session.ranks
    before = int(read_environment(folder.environment).get("processes", 1))
    if before == ranks.size:
        return recipe.threads
    text = f"trained by {before} processes before, by {ranks.size} from here on: the order of "
    text += "the data stays, but the weights are no longer bitwise those of an undisturbed run"
    session.notify(text, warning=True)
    return max(1, recipe.threads * before // ranks.size)

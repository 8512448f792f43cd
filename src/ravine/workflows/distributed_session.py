"""What several processes of one training do in turn: data, checkpoints, the run folder's lock."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from ravine.core.errors import DataError
from ravine.core.events import Notice, Observer
from ravine.core.progress import Progress, no_progress
from ravine.core.ranks import Ranks
from ravine.data.dataset import Dataset
from ravine.data.opening import open_dataset
from ravine.data.processes import cores
from ravine.runs.folder import RunFolder
from ravine.runs.rows import read_json
from ravine.workflows.recipe import Recipe


def open_in_turn(recipe: Recipe, ranks: Ranks, progress: Progress) -> Dataset:
    """Opens the data; one process of each machine first, which fills the cache for the others."""
    if ranks.size == 1:
        return open_dataset(recipe, seed=recipe.seed, progress=progress)
    if recipe.workers is None:
        recipe = recipe.with_(workers=max(1, cores() // ranks.local_size - 1))
    dataset = None
    if ranks.local_rank == 0:
        told = progress if ranks.is_main else no_progress
        dataset = open_dataset(recipe, seed=recipe.seed, progress=told)
    ranks.barrier()
    dataset = dataset or open_dataset(recipe, seed=recipe.seed)
    refuse_apart(ranks, dataset.fingerprint, f"the images of {recipe.data}")
    return dataset


def refuse_apart(ranks: Ranks, mine: str, what: str) -> None:
    """Raises `DataError` on every process if one of them sees something else than the leader."""
    if ranks.all_reduce_max(ranks.broadcast_text(mine) != mine)[0]:
        raise DataError(f"{what} are not the same for all processes; use one folder that all see")


def threads_on_resume(recipe: Recipe, folder: RunFolder, ranks: Ranks, tell: Observer) -> int:
    """Returns the threads per process: those of the run, shared out anew over other processes."""
    before = int(read_json(folder.environment).get("processes", 1))
    if before == ranks.size:
        return recipe.threads
    text = f"trained by {before} processes before, by {ranks.size} from here on: the order of "
    text += "the data stays, but the weights are no longer bitwise those of an undisturbed run"
    tell(Notice(text=text, warning=True))
    return max(1, recipe.threads * before // ranks.size)


@contextmanager
def held_together(folder: RunFolder, ranks: Ranks) -> Iterator[None]:
    """Holds the folder while the processes train in it; the leader has the lock."""
    with folder.locked() if ranks.is_main else nullcontext():
        ranks.barrier()
        yield

"""Writes docs/networks-by-evidence.md from the table by which --budget picks a network."""

from pathlib import Path

from ravine.training.network_evidence import Cell, measured_cells

PAGE = Path(__file__).parents[1] / "docs" / "networks-by-evidence.md"

_HEAD = """# Which network a budget gets: the evidence

    make recipes FASHION=FOLDER CIFAR=FOLDER_OF_JPEG        # the cells that are missing

{rules}

"""
_RULES = (
    "Accuracy in per cent on 1,000 other images, after so many epochs with Ravine's defaults, mean "
    "over the seeds. By epochs, and not by seconds, so it holds on any machine: `ravine train "
    "--budget` measures how many epochs each network makes in the budget here, reads what that "
    "would give, linear in the logarithms of images and epochs, and takes the best (within 2 "
    "points the first, since a seed changes as much). **Where it reaches:** numbers of images "
    "between those of a row's neighbours, images up to 1.3 times smaller or larger, up to twice as "
    "many or half as many classes, the same channels; more epochs than were measured are marked "
    "as extrapolated, beyond four times as many there is no evidence; epochs that one of a data "
    "set's networks lacks do not count. Everywhere else the rule of "
    "[networks.md](networks.md) decides, and says so."
)


def write_page() -> None:
    """Writes the page from the cells that there are."""
    measured_cells.cache_clear()
    cells = measured_cells()
    epochs = sorted({cell.epochs for cell in cells})
    heads = " | ".join(f"{count:g} epochs" for count in epochs)
    text = _HEAD.format(rules=_RULES)
    text += (
        f"| data | images | network | {heads} | seeds |\n|---|---|---|{'---|' * len(epochs)}---|\n"
    )
    rows: dict[tuple[str, int, str], dict[float, Cell]] = {}
    for cell in cells:
        own = cell.situation
        data = f"{own.classes} classes, {own.image_size}×{own.image_size}×{own.channels}"
        rows.setdefault((data, own.images, cell.model), {})[cell.epochs] = cell
    for (data, images, model), found in sorted(rows.items()):
        shown = " | ".join(f"{100 * found[e].accuracy:.1f}" if e in found else "" for e in epochs)
        seeds = sorted({cell.seeds for cell in found.values()})
        text += f"| {data} | {images:,} | {model} | {shown} | {'–'.join(map(str, seeds))} |\n"
    unfinished = PAGE.with_suffix(".unfinished")
    unfinished.write_text(text)
    unfinished.rename(PAGE)


if __name__ == "__main__":
    write_page()

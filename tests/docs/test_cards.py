"""The documentation is complete and whole: a card for each method, and no dead link."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import typer

from ravine.cli.main import COMMANDS, app, load_command
from ravine.data.augment_settings import OPERATIONS
from ravine.models import MODELS
from ravine.nn import NORMS, SCHEMES
from ravine.optim import OPTIMIZERS
from ravine.schedules import SCHEDULES
from ravine.workflows.recipe import RECIPES, Recipe

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CARDS = DOCS / "methods"

# The methods that the product stands on, and the card of each.
METHODS = {
    "Momentum": "momentum",
    "Momentum, Nesterov form": "nesterov",
    "AdaGrad": "adagrad",
    "RMSProp": "rmsprop",
    "Adam": "adam",
    "Nadam": "nadam",
    "Muon": "muon",
    "Muon of filters that keep their norm": "muon-rescaled",
    "weight decay": "weight-decay",
    "clipping by norm": "gradient-clipping",
    "clipping by value": "gradient-clipping",
    "AGC": "agc",
    "skipped steps": "non-finite-steps",
    "dropout": "dropout",
    "batch normalisation": "batch-normalisation",
    "group normalisation": "group-normalisation",
    "Xavier": "xavier",
    "He": "he",
    "orthogonal": "orthogonal",
    "LSUV": "lsuv",
    "zero-init": "zero-init",
    "convolution": "convolution",
    "Winograd": "winograd",
    "AlexNet": "alexnet",
    "ResNet": "resnet",
    "pre-activation": "preact-resnet",
    "WideResNet": "wide-resnet",
    "swift": "swift",
    "skip connections": "skip-connections",
    "label smoothing": "label-smoothing",
    "EMA weights": "ema-weights",
    "mixup": "mixup",
    "cutmix": "cutmix",
    "cutout": "cutout",
    "random erasing": "random-erasing",
    "flip and crop": "flip-and-crop",
    "colour jitter": "colour-jitter",
    "progressive resizing": "progressive-resizing",
    "schedules": "schedules",
    "warm-up": "schedules",
    "range test": "range-test",
    "test-time flip": "test-time-flip",
    "class balance": "class-balance",
    "loss surface": "loss-surface",
    "test functions": "test-functions",
}
SECTIONS = ["What it is", "Formula", "What it fixes, what it costs", "Settings", "Source"]
every_card = pytest.mark.parametrize("card", sorted(set(METHODS.values())))


def pages() -> list[Path]:
    return [*sorted(DOCS.rglob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]


every_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)


def all_cards() -> str:
    return "\n".join(path.read_text() for path in sorted(CARDS.glob("*.md")))


@every_card
def test_a_card_has_each_section_filled_and_in_order(card: str) -> None:
    text = (CARDS / f"{card}.md").read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)

    assert text.startswith("# ")
    assert parts[1::2] == SECTIONS
    assert all(len(part.strip()) > 20 for part in parts[2::2])


@every_card
def test_a_card_names_the_year_of_its_source(card: str) -> None:
    source = (CARDS / f"{card}.md").read_text().split("## Source")[1]

    assert re.search(r"\b(19|20)\d\d\b", source)


def test_no_card_is_missing_from_the_list_or_from_the_index() -> None:
    index = (CARDS / "index.md").read_text()
    files = {path.stem for path in CARDS.glob("*.md")} - {"index"}

    assert files == set(METHODS.values())
    assert [name for name in sorted(files) if f"({name}.md)" not in index] == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (DOCS / "index.md").read_text()

    assert [p.name for p in DOCS.glob("*.md") if f"({p.name})" not in index] == ["index.md"]


def table_rows() -> Iterable[tuple[str, str]]:
    tables = {
        "optimizer": OPTIMIZERS,
        "schedule": SCHEDULES,
        "init": [scheme for scheme in SCHEMES if scheme != "auto"],
        "norm": NORMS,
        "augment": OPERATIONS,
        "model": [name for name in MODELS if not re.search("[:/]", name)],
    }
    return [(setting, name) for setting, names in tables.items() for name in names]


@pytest.mark.parametrize(("setting", "name"), table_rows())
def test_every_row_of_a_table_stands_in_a_card(setting: str, name: str) -> None:
    # A pattern such as wrn-D-K stands in the cards with numbers.
    pattern = re.sub("D|K", r"\\d+", re.escape(name)) if setting == "model" else re.escape(name)

    assert re.search(rf"(?<![\w-]){pattern}(?![\w-])", all_cards())


@every_page
def test_every_link_and_picture_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^    .*$", "", page.read_text(), flags=re.MULTILINE)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    targets += re.findall(r'src="([^"]+)"', text)
    local = [target for target in targets if "://" not in target]

    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_picture_is_shown_somewhere() -> None:
    shown = "\n".join(page.read_text() for page in pages())

    assert [p.name for p in (DOCS / "pictures").iterdir() if p.name not in shown] == []


def options() -> set[str]:
    """Returns the options of all commands, and those that a user reaches through `--set`."""
    of_commands = {
        name.removeprefix("--")
        for each in (typer.main.get_command(app), *map(load_command, COMMANDS))
        for option in each.params
        for name in (*option.opts, *option.secondary_opts)
        if name.startswith("--")
    }
    settings = {name.replace("_", "-") for name in Recipe.model_fields}
    return {"help", "help-all", *of_commands, *settings}


OPTION = r"(?<![\w-])--([a-z][a-z0-9-]*)"
# Programs that a page calls beside Ravine; what follows is theirs as far as Ravine's own name.
OTHERS = r"#SBATCH|(?<![\w-])(?:make|sbatch|srun|torchrun|ray|tensorboard)(?= )"
SCRIPT = r"(?:bench|docs)/\w+\.py"


def options_of_others(text: str) -> set[str]:
    """Returns the options in the commands of other programs, and of Ravine's scripts."""
    commands = re.findall(rf"(?:{OTHERS}|{SCRIPT})([^`\n]*?)(?:\bravine\b|`|$)", text, re.MULTILINE)
    return {name for command in commands for name in re.findall(OPTION, command)}


@every_page
def test_every_option_that_is_named_exists(page: Path) -> None:
    text = page.read_text().replace("\\\n", "")
    known = options() | options_of_others(text)
    named = set(re.findall(OPTION, text))
    if page.name == "CONTRIBUTING.md":
        named -= {"check"}

    assert {name for name in named if name.removeprefix("no-") not in known} == set()


@every_page
def test_every_option_of_a_script_stands_in_the_script(page: Path) -> None:
    for script, words in re.findall(rf"({SCRIPT})( [^`\n]*)", page.read_text()):
        for name in re.findall(OPTION, words):
            assert f'"--{name}"' in (ROOT / script).read_text(), f"{script} --{name}"


def test_every_named_recipe_is_explained() -> None:
    text = (DOCS / "settings-and-recipes.md").read_text()

    assert [name for name in RECIPES if f"`{name}`" not in text] == []

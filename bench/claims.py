"""What is said about wide networks, batches and dropout, by races at equal seconds or epochs.

    make claims FASHION=FOLDER CIFAR=FOLDER_OF_JPEG [ROWS="--only batch"]
    python bench/claims.py --page            # docs/claims.md only

A claim is one `ravine race` at the defaults (one trial, no search) on three fresh seeds, with the
verdict that the race gives. A race that was stopped goes on; one that has ended is not run
again. Those that need a GPU and hours stand on the page as commands.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leaderboard_data import prepare
from race_to_end import race_to_end
from results import RESULTS, keep, kept, kept_machine

PAGE = Path(__file__).parents[1] / "docs" / "claims.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What is said, and the race that asks.

    Attributes:
        said: the claim, in a sentence.
        data: as leaderboard_data names it.
        options: of the race, beyond trials and seeds.
    """

    said: str
    data: str
    options: tuple[str, ...]


CLAIMS: Mapping[str, Claim] = {
    "batch": Claim(
        said="A batch's averaged gradient speeds convergence up, at equal seconds",
        data="fashion-5000",
        options=("--model", "wrn-16-1", "--vary", "batch=8,32,128,512", "--equal", "seconds",
                 "--budget", "12min"),
    ),
    "wide": Claim(
        said="A wide network beats a deep one of more parameters, at equal seconds",
        data="cifar-5000",
        options=("--vary", "model=wrn-16-2,resnet-cifar-110", "--equal", "seconds",
                 "--budget", "8min"),
    ),
    "identity": Claim(
        said="A deep network with identity paths needs as many epochs as a wide one",
        data="fashion-5000",
        options=("--vary", "model=wrn-16-2,preact-164", "--epochs", "2"),
    ),
    "thousand": Claim(
        said="WRN-40-4 makes 8 times the epochs of ResNet-1001 in the same seconds",
        data="cifar-1000",
        options=("--vary", "model=wrn-40-4,preact-1001", "--equal", "seconds",
                 "--budget", "20min"),
    ),
    "dropout": Claim(
        said="Dropout in the blocks makes a wide network more accurate",
        data="cifar-5000",
        options=("--model", "wrn-16-2", "--vary", "dropout=0,0.3", "--epochs", "8"),
    ),
}  # fmt: skip
SHARED = ("--trials", "1", "--seeds", "3", "--no-early")

_HEAD = """# What is said about wide networks, measured

    make claims FASHION=FOLDER CIFAR=FOLDER_OF_JPEG       # the races that are missing, an hour
    python bench/claims.py --page                         # this page again

{rules}

"""
_RULES = (
    "One race each, on this machine's processor, at the defaults of every candidate (no search), "
    "on three fresh seeds, with the verdict of the race: who is significantly better, who is tied. "
    "The budgets are small; what hundreds of epochs would say, they do not."
)
_PAPER = """## With a GPU and hours

The paper's recipe (200 epochs) on CIFAR-10 or CIFAR-100, which no run here has gone through:

    ravine train CIFAR --recipe wrn-paper --model wrn-16-8
    ravine train CIFAR --recipe wrn-paper --model wrn-28-10
    ravine train CIFAR --recipe wrn-paper --model wrn-40-4
"""


def write_page() -> None:
    """Writes the page: a table for each claim that was raced, and the commands of all."""
    entries = kept("claims")
    text = _HEAD.format(rules=_RULES)
    if (RESULTS / "claims.json").exists():
        text += f"On {kept_machine('claims')}.\n\n"
    for name, claim in CLAIMS.items():
        command = " ".join(["ravine race DATA", *claim.options, *SHARED])
        text += f"## {claim.said}\n\n    {command}    # DATA: {claim.data}\n\n"
        text += _table(entries[name]) if name in entries else "Not measured yet.\n\n"
    unfinished = PAGE.with_suffix(".unfinished")
    unfinished.write_text(text + _PAPER)
    unfinished.rename(PAGE)


def _table(entry: dict[str, Any]) -> str:
    lines = [
        "| candidate | accuracy, % (95 % of the mean) | epochs of a run | seeds |",
        "|---|---|---|---|",
    ]
    for row in entry["table"]:
        reached = "no run ended"
        if row["results"]:
            bounds = [f"{100 * v:.1f}" if v is not None else "?" for v in row["interval"]]
            reached = f"{100 * row['mean']:.1f} ({' to '.join(bounds)})"
        count = len(row["results"])
        lines.append(f"| {row['name']} | {reached} | {row['epochs']:.3g} | {count} |")
    return "\n".join(lines) + f"\n\n**{entry['verdict']}**\n\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--cifar", type=Path)
    parser.add_argument("--only", default=",".join(CLAIMS))
    parser.add_argument("--out", type=Path, default=Path("build/leaderboard"))
    parser.add_argument("--page", action="store_true")
    asked = parser.parse_args()
    if asked.page:
        return write_page()
    sources = {"fashion": asked.fashion, "cifar": asked.cifar}
    for name in asked.only.split(","):
        claim = CLAIMS[name]
        board = prepare(claim.data, sources, asked.out / "data")
        out = asked.out / "races" / f"claim-{name}"
        found = race_to_end(board.train, [*claim.options, *SHARED], out)
        wanted = ("name", "mean", "interval", "epochs", "results")
        rows = [{key: row[key] for key in wanted} for row in found["table"]]
        entries = {**kept("claims"), name: {"verdict": found["verdict"], "table": rows}}
        keep("claims", "python bench/claims.py", entries, show=False)
        write_page()
    return None


if __name__ == "__main__":
    main()

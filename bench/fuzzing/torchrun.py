"""torchrun's variables: missing, no numbers, impossible, or of peers that are not there."""

import random
from pathlib import Path

from fuzzing.case import Case
from fuzzing.fixtures import Fixtures

_GOOD = {
    "RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29777",
}  # fmt: skip
_ODD = ("", " ", "x", "-1", "5", "1.5", "9" * 40, "0x2", "٣", "1e3", "nan", "None", "\t1")


def torchrun_case(chance: random.Random, fixtures: Fixtures, folder: Path) -> Case:
    """Returns a short training with odd variables; none of them names peers that could come."""
    (folder / "tree").symlink_to(fixtures.tree)
    variables = dict(_GOOD)
    if chance.random() < 0.7:
        # Impossible in any case: no group is waited for.
        variables |= {"WORLD_SIZE": "2", "RANK": chance.choice(("2", "-1", "x", "", "7"))}
    for _ in range(chance.randint(0, 2)):
        name = chance.choice([n for n in variables if n not in ("WORLD_SIZE", "RANK")])
        if chance.random() < 0.3:
            variables.pop(name)
        else:
            variables[name] = chance.choice(_ODD)
    if chance.random() < 0.2:
        variables["WORLD_SIZE"] = chance.choice(("0", "-1", "x", "1.0", "9" * 30))
    command = chance.choice(("train", "train", "models"))
    words = ["train", "tree", "--model", "wrn-10-1", "--epochs", "0.1", "--batch", "12", "--quiet"]
    words += ["--threads", "1", "--convolution", "guess", "--out", "new"]
    return Case(words=words if command == "train" else ["models"], environment=variables)

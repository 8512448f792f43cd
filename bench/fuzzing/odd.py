"""Odd values: of options, of settings in TOML, of JSON."""

import json
import random
from typing import Any

TEXTS = (
    "0", "-1", "1", "2", "1e308", "1e-320", "nan", "inf", "-inf", "9" * 400, "9" * 5000, "0x10",
    "true", "false", "null", "None", "x", "é", "\udce9", "a" * 300, "~nosuchuser/x", "/dev/null",
    "/dev/zero", "/proc/self/mem", "..", ".", "-", "=", "a=b", "$HOME", "%s", "{}", "[]", "1,2,3",
    ",", "auto", "1:2", "\t", "1_000", "1e", "٣", "0.3", "1e-3", "relu", "he", "cosine", "adam",
    "flip,crop", "wrn-10-1000000", "wrn-10-1", "resnet-18", "swift-99999999", "alexnet",
    "module:callable", "os:getcwd", "timm/none", "10min", "1s", "1e400s", "cuda:99", "meta", "cpu",
    "mps", "bfloat16", "float16", "none", "group", "batch", "loss", "running,batch", "@fashion",
    "@none", "a" * 5000, "..\\..", "con", "tree", "tree/across", "run", "run/model.safetensors",
    "loop", "file", "fifo.png", "1e5", "65537", "4096", "on", "off", "yes",
)  # fmt: skip
# Where a command writes: names in the case's folder, and places where nothing can be written.
OUTS = (
    "new", "a/b/c", "file", "file/x", "tree", "run", "loop", "loop/x", "/dev/null", "/dev/null/x",
    "/proc/x", "/proc/self/x", "~nosuchuser/x", "a" * 300, "é", "\udce9", ".", "fifo", "-", " ",
)  # fmt: skip


def text(chance: random.Random) -> str:
    """Returns an odd text, or some characters."""
    if chance.random() < 0.85:
        return chance.choice(TEXTS)
    letters = "abc019.,:;=-+/\\ \"'$%{}[]()*?~é\u202e\U0001f600"
    return "".join(chance.choice(letters) for _ in range(chance.randint(1, 12)))


def data_words(chance: random.Random, *source: str) -> list[str]:
    """Returns the words of a short training, or of a check, on a source in the case's folder."""
    if chance.random() < 0.15:
        return ["check", *source, "--model", "wrn-10-1", "--no-learn", "--quiet"]
    words = ["train", *source, "--model", "wrn-10-1", "--epochs", "0.2", "--batch", "12", "--quiet"]
    return [*words, "--threads", "1", "--convolution", "guess", "--out", "new"]


def torn(chance: random.Random, content: bytes) -> bytes:
    """Returns bytes that are cut, changed at a place, or have others within."""
    at = chance.randrange(len(content) + 1)
    noise = bytes(chance.randrange(256) for _ in range(4))
    return chance.choice(
        (
            content[:at],
            content[:at] + noise + content[at + 4 :],
            content[:at] + noise + content[at:],
        )
    )


def value(chance: random.Random) -> Any:
    """Returns an odd value of JSON or TOML, without None."""
    return chance.choice(
        (
            0, 1, -1, 7, 2**31, 2**63, 10**25, 10**400, True, False, 0.5, -0.5, 1.5, 1e308, 5e-324,
            "", "x", "0", "1e400", "a" * 300, "\0", "é$x_{1}$", "../../etc/passwd", "<b>x</b>", [],
            [1], [True], ["x"], [[1]], {}, {"a": 1}, {"step": 1}, [0.1, 0.2], list(range(50)),
        )
    )  # fmt: skip


def nested(depth: int) -> str:
    """Returns a text of JSON that is nested so deep."""
    return "[" * depth + "]" * depth


def json_text(chance: random.Random) -> str:
    """Returns a text that stands where JSON should."""
    return chance.choice(
        (
            "", " ", "{", "null", "true", "[]", "{}", "0", '"x"', "NaN", nested(30), nested(3000),
            nested(100_000), '{"a":' * 3000 + "1" + "}" * 3000, "9" * 5000, '{"step": ' + "9" * 5000
            + "}", "\ufeff{}", "\udcff", '{"step": 1', json.dumps({"step": 1, "kind": "step"}),
            '{"kind": "epoch"}', '{"kind": "epoch", "step": "x", "epoch": []}',
        )
    )  # fmt: skip


def mutate(chance: random.Random, found: Any) -> Any:
    """Returns a value of JSON with one part of it changed, dropped or added."""
    if isinstance(found, dict) and found and chance.random() < 0.9:
        name = chance.choice(list(found))
        rest = {k: v for k, v in found.items() if k != name}
        if chance.random() < 0.25:
            return rest
        return {**found, name: mutate(chance, found[name])}
    if isinstance(found, list) and found and chance.random() < 0.7:
        at = chance.randrange(len(found))
        return [*found[:at], mutate(chance, found[at]), *found[at + 1 :]]
    return None if chance.random() < 0.15 else value(chance)

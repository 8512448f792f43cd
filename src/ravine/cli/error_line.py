"""How a user's mistake is printed: a line of at most 200 letters, and its remedy whole.

A message that fits is one line. Of a longer one the command to type stands on a line of its own, as
it is to be typed; long words are shortened in their middle, long lists at their end, and at last
the middle of the line is cut, so that what is wrong and the remedy stay.
"""

import re

MOST = 200
_WORD = 32  # letters that a long word keeps
_LEAST_ITEMS = 4  # of a list that may be shortened
_COMMAND = re.compile(
    r"(?P<before>(?:: |; | first | or ))(?P<command>(?:ravine [a-z]+ |pip install |hf |gunzip ).+)$"
)
_LIST = re.compile(r"(?:[^,;:()]{1,60}, ){3,}[^,;:()]{1,60}")  # of _LEAST_ITEMS and more
_MARK = "…"


def error_lines(text: str) -> list[str]:
    """Returns the lines to print: one, or a message and the command that it ends in.

    >>> error_lines("no  such path: a")
    ['ravine: no such path: a']
    >>> error_lines("x" * 300 + " is gone; put it back, or begin anew: ravine train --recipe r")
    ['ravine: xxxxxxxxxx…xxxxxxxxxxxxxxxxxxxxx is gone; put it back, or begin anew:', \
'ravine train --recipe r']
    """
    line = f"ravine: {' '.join(text.split())}"
    if len(line) <= MOST:
        return [line]
    found = _COMMAND.search(line)
    if found is None or "; " in found["command"]:
        return [_shortened(line)]
    return [
        _shortened(f"{line[: found.start()]}{found['before'].rstrip(' :;')}:"),
        found["command"],
    ]


def _shortened(line: str) -> str:
    """Returns a line of at most `MOST` letters."""
    for shorten in (_with_short_words, _with_short_lists, _without_middle):
        if len(line) <= MOST:
            break
        line = shorten(line)
    return line


def _with_short_words(line: str) -> str:
    """Shortens words in their middle, the longest first; a value to type after --option stays."""
    words = line.split(" ")
    to_type = {i + 1 for i, word in enumerate(words) if word.startswith("--")}
    order = sorted(range(len(words)), key=lambda i: -len(words[i]))
    for index in order:
        word = words[index]
        if len(" ".join(words)) <= MOST or len(word) <= _WORD:
            break
        if index not in to_type:
            words[index] = f"{word[: _WORD // 3]}{_MARK}{word[1 + _WORD // 3 - _WORD :]}"
    return " ".join(words)


def _with_short_lists(line: str) -> str:
    """Takes items from the end of the longest list until the line fits."""
    found = max(_LIST.finditer(line), key=lambda match: len(match[0]), default=None)
    if found is None:
        return line
    items = found[0].split(", ")
    total = len(items)
    while len(items) >= _LEAST_ITEMS and len(_joined(line, found, items, total)) > MOST:
        items.pop()
    return _joined(line, found, items, total)


def _joined(line: str, found: re.Match[str], items: list[str], total: int) -> str:
    more = f", {_MARK} ({total} in all)" if len(items) < total else ""
    return f"{line[: found.start()]}{', '.join(items)}{more}{line[found.end() :]}"


def _without_middle(line: str) -> str:
    """Cuts the middle; what stands behind the last semicolon is the remedy, and stays."""
    remedy = line[line.rfind("; ") :] if "; " in line else ""
    if not remedy or len(remedy) > MOST // 2:
        remedy = line[-MOST // 2 :]
    return f"{line[: MOST - len(remedy) - 1]}{_MARK}{remedy}"

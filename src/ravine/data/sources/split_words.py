"""Words that name a split, in the names of folders, shards and columns.

`train`, `seg_train`, `training_set`, `val2017`, `TestImages` name one; `test_tube` names a class.
Which of the two a name is depends on the names next to it: splits come in groups whose other words
are the same, or say nothing (`set`, `images`, a year).
"""

import re
from collections.abc import Iterable, Mapping

UNLABELLED = "unlabelled"

_WORDS = {
    "train": "train training trn tr trainset trainingset traindata trainval",
    "validation": "val valid validation validate validating dev valset validset validationset "
    "eval evaluation",
    "test": "test testing tst te testset testdata query gallery",
    UNLABELLED: "pred predict prediction predictions unlabeled unlabelled inference submission",
}
_SPLIT_OF = {word: split for split, words in _WORDS.items() for word in words.split()}
_DEVELOPMENT = frozenset({"dev", "devel", "development"})
_EVALUATION = frozenset({"eval", "evaluation"})
# Too short to name a split inside a longer name.
_ALONE = frozenset({"tr", "te"})
_NEUTRAL = """
    set sets data dataset datasets image images img imgs pic pics picture pictures photo photos
    split splits folder folders dir files new final full all small raw cropped resized jpg jpeg png
    original public private stage phase class classes category categories sorted v version
"""
_SAYS_NOTHING = frozenset(_NEUTRAL.split())
_FOLD = re.compile(r"(?i)^(?:[a-z]+[ _-])?(?:cv|k?folds?|splits?)[ _-]*\d+$|^\d+[ _-]*fold$")


def _tokens(name: str) -> list[str]:
    """Returns the words of a name in lower case.

    >>> _tokens("TrainImages_2017"), _tokens("TRAIN_SET")
    (['train', 'images', '2017'], ['train', 'set'])
    """
    return [t.lower() for t in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_]+", name)]


def split_word(name: str) -> tuple[str, tuple[str, ...]] | None:
    """Returns the split that a word of a name says, and the name's other telling words.

    >>> split_word("seg_train"), split_word("val2017"), split_word("cat")
    (('train', ('seg',)), ('validation', ()), None)
    """
    tokens = _tokens(name)
    said = [token for token in tokens if token in _SPLIT_OF]
    if len(tokens) > 1:
        said = [token for token in said if token not in _ALONE or _is_plain(tokens, token)]
    splits = {_SPLIT_OF[token] for token in said}
    if UNLABELLED in splits:
        splits = {UNLABELLED}
    if splits == {"train", "validation"}:  # train_val: for training, as in VOC
        splits = {"train"}
    if len(splits) != 1:
        return None
    rest = tuple(t for t in tokens if t not in said and not _says_nothing(t))
    return splits.pop(), rest


def _is_plain(tokens: list[str], token: str) -> bool:
    return all(_says_nothing(other) for other in tokens if other != token)


def _says_nothing(token: str) -> bool:
    return token in _SAYS_NOTHING or token.isdecimal() or len(token) == 1


def split_of(name: str) -> str | None:
    """Returns the split that a whole name says, such as a column's value; None if it says more.

    >>> split_of("TRAIN_SET"), split_of("te"), split_of("test_tube")
    ('train', 'test', None)
    """
    found = split_word(name)
    return found[0] if found and not found[1] else None


def split_group(names: Iterable[str]) -> dict[str, str]:
    """Returns the split of each of the names, next to each other, that is one.

    >>> split_group(["seg_train", "seg_test", "seg_pred"])
    {'seg_train': 'train', 'seg_test': 'test', 'seg_pred': 'unlabelled'}
    >>> split_group(["test_tube", "training_shoe", "flask"])
    {}
    """
    names = list(names)
    found = {name: word for name in names if (word := split_word(name)) is not None}
    if found:  # alone `development` may be a class
        found |= {name: ("validation", ()) for name in names if is_development(name)}
    alike: dict[tuple[str, ...], set[str]] = {}
    for split, rest in found.values():
        alike.setdefault(rest, set()).add(split)
    return by_neighbours(
        {name: split for name, (split, rest) in found.items() if not rest or len(alike[rest]) > 1}
    )


def is_development(name: str) -> bool:
    """Returns whether a name says `development`, and nothing else."""
    tokens = [token for token in _tokens(name) if not _says_nothing(token)]
    return len(tokens) == 1 and tokens[0] in _DEVELOPMENT


def by_neighbours(found: Mapping[str, str]) -> dict[str, str]:
    """Returns the split of each name, where two words mean what the other names leave to them.

    What is developed on is trained on where nothing else is, and else the validation; an
    evaluation is the test where something else is the validation, and nothing the test.

    >>> by_neighbours({"development": "validation", "evaluation": "validation"})
    {'development': 'train', 'evaluation': 'test'}
    >>> by_neighbours({"train": "train", "dev": "validation", "eval": "validation"})
    {'train': 'train', 'dev': 'validation', 'eval': 'test'}
    >>> by_neighbours({"train": "train", "eval": "validation"})
    {'train': 'train', 'eval': 'validation'}
    """
    doubtful = {name: set(_tokens(name)) for name, split in found.items() if split == "validation"}
    developed = {name for name, tokens in doubtful.items() if tokens & _DEVELOPMENT}
    evaluated = {name for name, tokens in doubtful.items() if tokens & _EVALUATION} - developed
    sure = {split for name, split in found.items() if name not in developed | evaluated}
    development = "validation" if "train" in sure else "train"
    has_validation = "validation" in sure or bool(developed)
    evaluation = "test" if has_validation and "test" not in sure else "validation"
    settled = dict.fromkeys(developed, development) | dict.fromkeys(evaluated, evaluation)
    return {name: settled.get(name, split) for name, split in found.items()}


def split_of_sibling(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Returns (split, other name) of each name that adds only a split's word to another of them.

    `tube` and `test_tube` may be two classes: what lies in the folders decides.

    >>> split_of_sibling(["birds", "validation-birds", "tube", "bus"])
    {'validation-birds': ('validation', 'birds')}
    """
    names = list(names)
    plain = {
        tuple(t for t in _tokens(name) if not _says_nothing(t)): name
        for name in names
        if split_word(name) is None
    }
    found = {name: word for name in names if (word := split_word(name)) is not None}
    with_train = {rest for split, rest in found.values() if split == "train"}
    return {
        name: (split, plain[rest])
        for name, (split, rest) in found.items()
        if rest and rest in plain and rest not in with_train
    }


def are_folds(names: Iterable[str]) -> bool:
    """Returns whether two or more names are those of folds for cross-validation.

    >>> are_folds(["fold1", "fold2"]), are_folds(["fold1", "cat"])
    (True, False)
    """
    names = list(names)
    return len(names) > 1 and all(_FOLD.match(name) for name in names)


_PART = re.compile(
    r"(?i)^(?:.*[ _.-])?(?:part|images?|imgs?|pics|pictures?|photos?|batch|chunk|shard|folder|dir|"
    r"archive|disk|volume|vol|block|data|zip|tar)[ _.-]*\d+$"
)


def are_parts(names: Iterable[str]) -> bool:
    """Returns whether two or more names number the parts of one set, as archives come in several.

    >>> are_parts(["images_001", "images_002"]), are_parts(["HAM_part_1", "HAM_part_2"])
    (True, True)
    >>> are_parts(["s1", "s2"]), are_parts(["part_1", "screw"])
    (False, False)
    """
    names = list(names)
    return len(names) > 1 and all(_PART.match(name) for name in names)


_COUNTER = re.compile(
    r"(?i)^(?:(?:part|batch|session|set|folder|dir|group|video|clip|seq|sequence|day|week|month|"
    r"year|run|site|camera|cam|scan|subject|patient|person|user|track|shot|scene|series|visit|"
    r"chunk|block|section|sub|volume|vol|disk|archive|images?|img|train|s|p|v)[ _.-]*)?"
    r"\d+(?:[ _.-]\d+)*$"
)


def are_counters(names: Iterable[str]) -> bool:
    """Returns whether all names only count or date: `2019`, `part_1`, `session-03`.

    >>> are_counters(["2019-05-01", "part_2"]), are_counters(["rose", "2"])
    (True, False)
    """
    return all(_COUNTER.match(name) for name in names)


def splits_said(splits: Mapping[str, str]) -> str:
    """Returns which folders are which split, for a message.

    >>> splits_said({"seg_train": "train", "seg_test": "test"})
    'seg_train/ train, seg_test/ test'
    """
    return ", ".join(f"{name}/ {split}" for name, split in splits.items())

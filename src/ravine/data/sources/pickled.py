"""Reads the data in a pickle without running it.

A pickle is a program for a small stack machine, and a hostile one runs any code. This reader
walks its instructions as text (`pickletools.genops`) and carries out only those that make
plain values and byte arrays; a stored numpy array is recognised as data. Nothing is
imported or called, whatever the file says; anything else is refused.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ravine.core.errors import DataError
from ravine.core.regular_file import read_regular

_MARK = object()
_MOST_BYTES = 2**31


@dataclass(slots=True)
class _Global:
    """The name of a global, as text."""

    path: str


@dataclass(slots=True)
class _Pending:
    """An array or dtype whose state follows in the pickle."""

    kind: str
    code: str = ""
    array: np.ndarray | None = None


_RECONSTRUCT = frozenset(
    {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
)
_DTYPES = frozenset({"u1", "|u1", "uint8", "i8", "<i8", "int64", "i4", "<i4", "int32"})

_TORN = (
    ValueError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
)


def read_pickled(path: Path) -> Any:
    """Returns the plain value in a pickle: dicts, lists, text, numbers, bytes, arrays.

    Raises:
        DataError: the file is torn, or holds anything that is not plain data.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path} is too large for a CIFAR batch")
        content = read_regular(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from None
    machine = _Machine()
    try:
        for operation, argument, _ in pickletools.genops(content):
            if operation.name == "STOP":
                return _resolved(machine.stack.pop(), {})
            machine.run(operation.name, argument)
    except _Refused as refused:
        raise DataError(f"{path} holds {refused}: refused, nothing of it was run") from None
    except _TORN as error:
        raise DataError(f"{path} is torn or no batch of CIFAR: {error}") from None
    raise DataError(f"{path} is torn: it has no end")


class _Refused(Exception):
    pass


class _Machine:
    """The stack machine, without the instructions that run code."""

    _PUSHES = frozenset(
        [
            "INT",
            "BININT",
            "BININT1",
            "BININT2",
            "LONG",
            "LONG1",
            "LONG4",
            "FLOAT",
            "BINFLOAT",
            "STRING",
            "BINSTRING",
            "SHORT_BINSTRING",
            "UNICODE",
            "BINUNICODE",
            "SHORT_BINUNICODE",
            "BINUNICODE8",
            "BINBYTES",
            "SHORT_BINBYTES",
            "BINBYTES8",
        ]
    )
    _CONSTANTS: ClassVar[Mapping[str, Callable[[], Any]]] = {
        "NONE": lambda: None,
        "NEWTRUE": lambda: True,
        "NEWFALSE": lambda: False,
        "EMPTY_DICT": dict,
        "EMPTY_LIST": list,
        "EMPTY_TUPLE": tuple,
        "MARK": lambda: _MARK,
    }

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self, name: str, argument: Any) -> None:
        """Carries out one instruction, or refuses it."""
        if name in ("PROTO", "FRAME"):
            return
        if name in self._PUSHES:
            self.stack.append(argument)
        elif name in self._CONSTANTS:
            self.stack.append(self._CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self.memo[int(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[int(argument)])
        elif name == "GLOBAL":
            self.stack.append(_Global(argument))
        elif name == "STACK_GLOBAL":
            attribute, module = self.stack.pop(), self.stack.pop()
            self.stack.append(_Global(f"{module} {attribute}"))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            self.stack[-count:] = [tuple(self.stack[-count:])]
        else:
            self._combine(name)

    def _combine(self, name: str) -> None:
        if name in ("TUPLE", "LIST", "DICT"):
            items = self._to_mark()
            self.stack.append(_GATHERS[name](items))
        elif name == "APPEND":
            item = self.stack.pop()
            self.stack[-1].append(item)
        elif name == "APPENDS":
            items = self._to_mark()
            self.stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = self.stack.pop(), self.stack.pop()
            self.stack[-1][key] = value
        elif name == "SETITEMS":
            items = self._to_mark()
            self.stack[-1].update(_pairs(items))
        elif name == "REDUCE":
            arguments, called = self.stack.pop(), self.stack.pop()
            self.stack.append(_reduced(called, arguments))
        elif name == "BUILD":
            state = self.stack.pop()
            _fill(self.stack[-1], state)
        else:
            raise _Refused(f"the pickle instruction {name}")

    def _to_mark(self) -> list[Any]:
        mark = len(self.stack) - 1 - self.stack[::-1].index(_MARK)
        items = self.stack[mark + 1 :]
        del self.stack[mark:]
        return items


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


_GATHERS: Mapping[str, Callable[[list[Any]], Any]] = {
    "TUPLE": tuple,
    "LIST": list,
    "DICT": _pairs,
}


def _reduced(called: Any, arguments: Any) -> Any:
    path = called.path if isinstance(called, _Global) else repr(called)
    if path in _RECONSTRUCT:
        return _Pending("array")
    if path == "numpy dtype":
        return _Pending("dtype", code=str(arguments[0]))
    if path == "_codecs encode" and arguments[1] == "latin1":
        return arguments[0].encode("latin1")
    raise _Refused(f"a call of {path.replace(' ', '.')}")


def _fill(shell: Any, state: Any) -> None:
    if not isinstance(shell, _Pending):
        raise _Refused("the state of an object that is no array")
    if shell.kind == "dtype":
        return
    _, shape, dtype, fortran, content = state
    if not isinstance(dtype, _Pending) or dtype.code not in _DTYPES:
        raise _Refused("an array that does not hold whole numbers")
    raw = content.encode("latin1") if isinstance(content, str) else content
    array = np.frombuffer(raw, dtype=dtype.code)
    shell.array = array.reshape(shape, order="F" if fortran else "C")


def _resolved(value: Any, known: dict[int, Any]) -> Any:
    """Returns a value with every `_Pending` replaced by its array.

    A shared value is resolved once, or a small file could expand without end; a value that
    contains itself ends in a RecursionError.
    """
    if id(value) in known:
        return known[id(value)]
    known[id(value)] = made = _resolve_once(value, known)
    return made


def _resolve_once(value: Any, known: dict[int, Any]) -> Any:
    if isinstance(value, _Pending):
        if value.array is None:
            raise _Refused("an array without content")
        return value.array
    if isinstance(value, dict):
        return {_text(key): _resolved(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, known) for item in value]
    if isinstance(value, tuple):
        return tuple(_resolved(item, known) for item in value)
    if isinstance(value, _Global):
        raise _Refused(f"the name {value.path.replace(' ', '.')}")
    return value


def _text(key: Any) -> Any:
    return key.decode("latin1") if isinstance(key, bytes) else key

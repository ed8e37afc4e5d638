"""Checks of values: which values the fields of components and the options of trainers accept.

The same check runs when a field is set and when it is read from a file. A check is a function that takes a value and
returns the value to store (often the same value), or raises `WrongType` or `WrongValue`. A check does not know the name
of its field. `checked` and `reading` add the name to the error message, from the inside to the outside. So an error
deep in a file reads `pretokenizers[1].length: must be a whole number from 0 to 2**64 - 1, not -1`.

>>> checked("length", integer(0, 9), 3)
3
>>> checked("lengths", listed(integer(0, 9)), [1, 10])
Traceback (most recent call last):
    ...
gputok.checks.OutOfRange: lengths[1]: must be a whole number from 0 to 9, not 10
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import numbers
import operator
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeGuard, TypeVar

T = TypeVar("T")
Check = Callable[[Any], Any]

ID = 2**32 - 2
"""The largest id of a token. Ids have 32 bits, and 2**32 - 1 stands for "no token"."""
WORD = 2**32 - 1
"""The largest number of 32 bits, such as a type id. It has nothing to do with words of text."""
SIZE = 2**64 - 1
"""The largest count, as in tokenizers. Code that has fewer bits for it uses a smaller one that no text can reach."""


class FieldError(Exception):
    """A wrong value.

    Attributes:
        reason: what is wrong with it.
        place: where it is, such as `pretokenizers[1].length`; "" if that is not known yet.
    """

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(reason, place)
        self.reason, self.place = reason, place

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason

    def within(self, place: str) -> Self:
        """Returns the same error with `place`, which contains the value, before its own place."""
        return type(self)(self.reason, _joined(place, self.place))


class WrongType(FieldError, TypeError):
    """A value of another type."""


class WrongValue(FieldError, ValueError):
    """A value of the right type that isn't allowed. In a file (`reading`), also a value of a wrong type."""


class OutOfRange(WrongValue, OverflowError):
    """A number that is too large or too small."""


def _joined(outer: str, inner: str) -> str:
    outer = shortened(outer)  # a key of a file can have any length
    return outer + inner if not inner or inner.startswith("[") else f"{outer}.{inner}"


def checked(name: str, check: Callable[[Any], T], value: Any) -> T:
    """Returns what a check returns for the value of a field; the errors of the check get the name of the field."""
    try:
        return check(value)
    except FieldError as error:
        raise error.within(name) from None


def reading(name: str, read: Callable[[Any], T], value: Any) -> T:
    """Returns what `read` returns for a part of a file; its errors, except RecursionError, become WrongValue."""
    try:
        return read(value)
    except RecursionError:
        raise
    except FieldError as error:
        raise WrongValue(error.reason, _joined(name, error.place)) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongValue(str(error), name) from None


@contextlib.contextmanager
def in_file(name: Any) -> Iterator[None]:
    """Turns an error about the content of a file into a ValueError whose message begins with the name of the file.

    >>> with in_file("a.json"):
    ...     checked("length", integer(0, 9), "many")
    Traceback (most recent call last):
    ValueError: a.json: length: 'str' object is not an instance of 'int': 'many'
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: byte {error.start} is not {error.encoding.upper()}") from None
    except RecursionError:
        raise ValueError(f"{name}: is nested too deeply") from None
    except (FieldError, ValueError, OverflowError) as error:
        if isinstance(error, ValueError) and str(name) in str(error):
            raise
        raise ValueError(f"{name}: {shortened(str(error), 1000)}") from None


def is_object(value: Any) -> TypeGuard[dict[str, Any]]:
    """Returns True for a JSON object."""
    return isinstance(value, dict)


def is_list(value: Any) -> TypeGuard[list[Any] | tuple[Any, ...]]:
    """Returns True for a list or a tuple."""
    return isinstance(value, list | tuple)


def needed(value: Mapping[str, Any], name: str) -> Any:
    """Returns a field of a JSON object; raises WrongValue if the object lacks it, WrongType if `value` is no object."""
    if not isinstance(value, Mapping):
        raise WrongType(f"must be an object, not {brief(value)}")
    if name not in value:
        raise WrongValue(f"missing field {name!r}")
    return value[name]


def brief(value: Any) -> str:
    """Returns the type and the `repr` of a value, cut to the length of an error message.

    >>> brief(0.5)
    'float 0.5'
    """
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def wrong_type(value: Any, kind: str) -> WrongType:
    """Returns the error for a value of a wrong type, in the words of tokenizers; kind: the name of the right type."""
    return WrongType(f"'{type(value).__name__}' object is not an instance of '{kind}': {short(value)}")


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise wrong_type(value, kind.__name__)
    return value


def typed(name: str, kind: type, value: Any) -> None:
    """Raises WrongType if the value of an argument is not of the type `kind`; name: that of the argument."""
    if not isinstance(value, kind):
        raise wrong_type(value, kind.__name__).within(name)


def short(value: Any) -> str:
    """Returns the `repr` of a value, cut to the length of an error message."""
    return brief(value).split(" ", 1)[1]


def shortened(text: str, most: int = 300) -> str:
    """Cuts a text that a file or another library wrote to at most `most` characters: its start and its end stay.

    >>> shortened("abcdefghij" * 10, 15)
    'abcdef...efghij'
    """
    half = (most - 3) // 2
    return text if len(text) <= most else f"{text[:half]}...{text[-half:]}"


def several(names: Iterable[str]) -> str:
    """Lists the first ten names for an error message, and says how many there are besides.

    >>> several(["a", "b"]), several("abcdefghijkl")
    ('a, b', 'a, b, c, d, e, f, g, h, i, j and 2 others')
    """
    given = [*names]
    more = f" and {len(given) - 10} others" if len(given) > 10 else ""
    return ", ".join(shortened(name, 60) for name in given[:10]) + more if given else "none"


def first_difference(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Returns the number of leading items that are equal in both."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns, and gives as the place the line of the user's program that called gputok, not a line inside gputok."""
    frame, level = sys._getframe(), 1
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in ("gputok", "contextlib"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, level)


def string(value: Any) -> str:
    """Accepts strings that can be encoded as UTF-8, which excludes strings with half of a surrogate pair."""
    if not _typed(value, str).isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise WrongValue(f"holds half of a surrogate pair, which no text in UTF-8 can: {short(value)}")
    return str(value)


def character(value: Any) -> str:
    """Accepts strings of one character."""
    if len(string(value)) != 1:
        raise WrongValue(f"must be a string of length 1, not {short(value)}")
    return value


def file_name(value: Any) -> str:
    """Accepts the names that a file in a folder can have: no path, and at most 255 bytes, as in most file systems."""
    import pathlib

    name = string(value)
    if pathlib.PurePath(name).name != name or "\0" in name or len(name.encode()) > 255:
        raise WrongValue(f"{short(name)} is not the name of a file")
    return name


def switch(value: Any) -> bool:
    """Accepts True and False, also NumPy's, and rejects 0 and 1, as tokenizers does."""
    numpy_s = type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_")
    return bool(value) if numpy_s else _typed(value, bool)


def integer(low: int, high: int) -> Check:
    """Makes a check that accepts whole numbers from `low` to `high`, but not True and False."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise wrong_type(value, "int")
        try:
            number = operator.index(value)
        except TypeError:  # an array has `__index__`, too, which works only for a single whole number
            raise wrong_type(value, "int") from None
        if not low <= number <= high:
            raise OutOfRange(f"must be a whole number from {low} to {_power(high)}, not {short(number)}")
        return number

    return check


def _power(number: int) -> str:
    """Writes a large number just below a power of two as a difference from that power.

    >>> _power(255), _power(2**32 - 1), _power(2**32 - 2)
    ('255', '2**32 - 1', '2**32 - 2')
    """
    bits = number.bit_length()
    return str(number) if bits < 16 or number < 2**bits - 2 else f"2**{bits} - {2**bits - number}"


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """Makes a check that accepts finite numbers from `low` to `high`, but not True and False."""
    span = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"

    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise wrong_type(value, "float")
        try:
            real = float(value)
        except OverflowError:
            real = math.inf
        if not (math.isfinite(real) and low <= real <= high):
            raise WrongValue(f"must be a {'' if span else 'finite '}number{span}, not {short(value)}")
        return real

    return check


def field(
    check: Check,
    *,
    default: Any = dataclasses.MISSING,
    default_factory: Any = dataclasses.MISSING,
    may_lack: bool = False,
    saved: bool = True,
    shown: Callable[[Any], str] | None = None,
    written: Callable[[Any], Any] | None = None,
    read: Callable[[Any], Any] | None = None,
) -> Any:
    """Declares a field of a dataclass: of a component, a trainer, or the limits of an encoding (`pipeline.limits`).

    Args:
        check: the check that each value of the field goes through (see the top of this file).
        default: as for `dataclasses.field`.
        default_factory: as for `dataclasses.field`.
        may_lack: a JSON form may lack the field; then it has its default.
        saved: False: the JSON form never has it.
        shown: returns what `repr` shows, where `tokenizers` doesn't show the value itself, but a word without quotes.
        written: converts a value to its value in JSON; None: both are the same.
        read: converts a value in JSON to a value for `check`; None: both are the same.
    """
    about = {"check": check, "may_lack": may_lack, "saved": saved, "shown": shown, "written": written, "read": read}
    return dataclasses.field(default=default, default_factory=default_factory, metadata=about)


def checks_of(kind: type) -> dict[str, Check]:
    """Returns field -> its check, for all fields that a class and its bases declare by `field`."""
    bases: list[dict[str, Any]] = [vars(base).get("__dataclass_fields__", {}) for base in reversed(kind.__mro__)]
    told = (item for fields in bases for item in fields.items())
    return {name: one.metadata["check"] for name, one in told if "check" in one.metadata}


def optional(check: Check, default: Any = None) -> Check:
    """Makes a check that also accepts None, and then returns `default`."""
    return lambda value: default if value is None else check(value)


def choice(*words: str) -> Check:
    """Makes a check that accepts these words."""

    def check(value: Any) -> str:
        if string(value) not in words:
            allowed = ", ".join(map(repr, words))
            raise WrongValue(f"{short(value)} is an unknown variant, should be one of {allowed}")
        return value

    return check


def listed(check: Check) -> Check:
    """Makes a check that accepts lists and tuples whose items pass a check; it returns a tuple."""

    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise wrong_type(value, "list")
        try:
            return tuple(map(check, value))
        except FieldError:  # again, with a name for each item: to make names always would take long
            return tuple(checked(f"[{i}]", check, item) for i, item in enumerate(value))

    return check_all


def tuple_of(*checks: Check) -> Check:
    """Makes a check that accepts tuples of as many items as checks; each item must pass its check."""

    def check(value: Any) -> tuple[Any, ...]:
        if len(_typed(value, tuple)) != len(checks):
            raise WrongType(f"must be a tuple of {len(checks)} items, not {short(value)}")
        pairs = enumerate(zip(checks, value, strict=True))
        return tuple(checked(f"[{i}]", check, item) for i, (check, item) in pairs)

    return check


def elements(kind: Any) -> dict[str, Any]:
    """Returns `check` and `read` of `field` for a list of components of a kind; converts components of `tokenizers`."""

    def check(value: Any) -> tuple[Any, ...]:
        return listed(lambda item: _typed(kind.adopt(item), kind))(_typed(value, list))

    def read(forms: Any) -> list[Any]:
        return [reading(f"[{i}]", kind.from_dict, form) for i, form in enumerate(_typed(forms, list))]

    return {"check": check, "read": read}


def unwrapped(tokenizer: Any) -> Any:
    """Returns a `Tokenizer`, or the one that a `PreTrainedTokenizer` wraps; TypeError for anything else."""
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(inner, "pipeline"):
        raise wrong_type(tokenizer, "Tokenizer")
    return inner

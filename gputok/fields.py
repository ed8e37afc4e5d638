"""What the fields of components may hold: checks, each said once and asked both when a field is set and when it is read.

A check takes a value and returns it, perhaps in the form that is kept, or raises `WrongType` or `WrongValue`. It doesn't
know what it checks: `checked` and `reading` put the place before the error, from the inside out, so that one deep in a
file ends as `pretokenizers[1].length: must be a whole number from 0 to 2**64 - 1, not -1`.

>>> checked("length", integer(0, 9), 3)
3
>>> checked("lengths", listed(integer(0, 9)), [1, 10])
Traceback (most recent call last):
    ...
gputok.fields.OutOfRange: lengths[1]: must be a whole number from 0 to 9, not 10
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar

T = TypeVar("T")
Check = Callable[[Any], Any]

ID = 2**32 - 2
"""The largest id of a token: arrays hold 32 bits, of which the last number says that no token is meant."""
WORD = 2**32 - 1
"""The largest number in 32 bits."""
SIZE = 2**64 - 1
"""The largest count, as in tokenizers; what uses one may take less, where nothing can be so long."""


class FieldError(Exception):
    """What is wrong with a value, and the place of it."""

    def __init__(self, reason: str, place: str = "") -> None:
        super().__init__(reason, place)
        self.reason, self.place = reason, place

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason

    def within(self, place: str) -> Self:
        """The same error, `place` being what holds the one that it names."""
        return type(self)(self.reason, _joined(place, self.place))


class WrongType(FieldError, TypeError):
    """A value of another type."""


class WrongValue(FieldError, ValueError):
    """A value of the right type that isn't allowed; and whatever is wrong in a file."""


class OutOfRange(WrongValue, OverflowError):
    """A number that is too large or too small."""


def _joined(outer: str, inner: str) -> str:
    return outer + inner if not inner or inner.startswith("[") else f"{outer}.{inner}"


def checked(name: str, check: Callable[[Any], T], value: Any) -> T:
    """What a check makes of the value of a field; its errors name the field."""
    try:
        return check(value)
    except FieldError as error:
        raise error.within(name) from None


def reading(name: str, read: Callable[[Any], T], value: Any) -> T:
    """What `read` makes of a part of a file. Whatever is wrong with that part is a WrongValue that names its place."""
    try:
        return read(value)
    except RecursionError:
        raise
    except FieldError as error:
        raise WrongValue(error.reason, _joined(name, error.place)) from None
    except (TypeError, ValueError, OverflowError) as error:
        raise WrongValue(str(error), name) from None


def needed(value: Mapping[str, Any], name: str) -> Any:
    """A field that a JSON object must have."""
    if not isinstance(value, Mapping):
        raise WrongType(f"must be an object, not {brief(value)}")
    if name not in value:
        raise WrongValue(f"missing field {name!r}")
    return value[name]


def brief(value: Any) -> str:
    """A value that is wrong, short enough for a message.

    >>> brief(0.5)
    'float 0.5'
    """
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def wrong_type(value: Any, kind: str) -> WrongType:
    return WrongType(f"'{type(value).__name__}' object is not an instance of '{kind}': {short(value)}")


def _typed(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise wrong_type(value, kind.__name__)
    return value


def short(value: Any) -> str:
    """The `repr` of a value, cut to the length of a message."""
    return brief(value).split(" ", 1)[1]


def string(value: Any) -> str:
    """A string that can be written as UTF-8: no half of a surrogate pair stands alone in it."""
    if not _typed(value, str).isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise WrongValue(f"holds half of a surrogate pair, which no text in UTF-8 can: {short(value)}")
    return str(value)


def character(value: Any) -> str:
    """A string of one character."""
    if len(string(value)) != 1:
        raise WrongValue(f"must be a string of length 1, not {short(value)}")
    return value


def switch(value: Any) -> bool:
    """True or False; 0 and 1 are errors, as they are in tokenizers."""
    return _typed(value, bool)


def integer(low: int, high: int) -> Check:
    """A whole number from `low` to `high`; True and False are none."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not hasattr(value, "__index__"):
            raise wrong_type(value, "int")
        number = operator.index(value)
        if not low <= number <= high:
            raise OutOfRange(f"must be a whole number from {low} to {_power(high)}, not {short(number)}")
        return number

    return check


def _power(number: int) -> str:
    """A number as it is best read: the one before a power of two as such.

    >>> _power(255), _power(2**32 - 1), _power(2**32 - 2)
    ('255', '2**32 - 1', '2**32 - 2')
    """
    bits = number.bit_length()
    return str(number) if bits < 16 or number < 2**bits - 2 else f"2**{bits} - {2**bits - number}"


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """A finite number from `low` to `high`; True and False are none."""
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


def per_field(**checks: Check) -> Mapping[str, Check]:
    """The checks of fields by their names."""
    return MappingProxyType(checks)


def optional(check: Check, default: Any = None) -> Check:
    """The same, or None, which stands for `default`."""
    return lambda value: default if value is None else check(value)


def choice(*words: str) -> Check:
    """One of these words."""

    def check(value: Any) -> str:
        if string(value) not in words:
            known = ", ".join(map(repr, words))
            raise WrongValue(f"{short(value)} is an unknown variant, should be one of {known}")
        return value

    return check


def listed(check: Check) -> Check:
    """A list (kept as a tuple) whose items pass a check."""

    def check_all(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise wrong_type(value, "list")
        return tuple(checked(f"[{i}]", check, item) for i, item in enumerate(value))

    return check_all


def tuple_of(*checks: Check) -> Check:
    """A tuple of so many items, each of which passes its check."""

    def check(value: Any) -> tuple[Any, ...]:
        if len(_typed(value, tuple)) != len(checks):
            raise WrongType(f"must be a tuple of {len(checks)} items, not {short(value)}")
        pairs = enumerate(zip(checks, value, strict=True))
        return tuple(checked(f"[{i}]", check, item) for i, (check, item) in pairs)

    return check


def instances(kind: Any) -> Check:
    """A list (kept as a tuple) of components of a kind; those of `tokenizers` are adopted by their JSON."""

    def check(value: Any) -> tuple[Any, ...]:
        return listed(lambda item: _typed(kind.adopt(item), kind))(_typed(value, list))

    return check

"""Truncation and padding: the largest length of encodings, and the length to which they are padded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from gputok.checks import (
    SIZE,
    WORD,
    WrongValue,
    brief,
    checked,
    checks_of,
    choice,
    field,
    integer,
    needed,
    optional,
    reading,
    string,
)
from gputok.components import Unchanging

_STRATEGIES = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}
_DIRECTIONS = {"Left": "left", "Right": "right"}
_size = integer(0, SIZE)
_MOST = 2**62  # more than the tokens of any text; sums with this number stay within 64 bits


class _Limit(Unchanging):
    """Base of Truncation and Padding: checks and compares the values of their fields."""

    def _set(self, **values: Any) -> None:
        checks = checks_of(type(self))
        super()._set(**{name: checked(name, checks[name], value) for name, value in values.items()})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(tuple(vars(self).values()))

    def options(self) -> dict[str, Any]:
        """Returns the arguments of `enable_truncation` or `enable_padding`."""
        return dict(vars(self))


class Truncation(_Limit):
    """Cuts encodings of more than `max_length` tokens; the fields are those of `Tokenizer.enable_truncation`."""

    max_length: int = field(_size)
    stride: int = field(_size, default=0)
    strategy: str = field(choice(*_STRATEGIES.values()), default="longest_first")
    direction: str = field(choice(*_DIRECTIONS.values()), default="right")

    def room(self, n_added: int) -> int:
        """Returns how many tokens an encoding may have apart from `n_added` special tokens.

        If `n_added` is above `max_length`, nothing is cut: in `tokenizers`, the difference wraps to a huge number.
        """
        return min(self.max_length, _MOST) - n_added if self.max_length >= n_added else _MOST

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {
            "direction": self.direction.title(),
            "max_length": self.max_length,
            "strategy": next(name for name, value in _STRATEGIES.items() if value == self.strategy),
            "stride": self.stride,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes it from the JSON form; raises WrongType or WrongValue if a field is missing or wrong."""
        return cls(
            needed(value, "max_length"),
            needed(value, "stride"),
            _read_word("strategy", _STRATEGIES, needed(value, "strategy")),
            _read_word("direction", _DIRECTIONS, value.get("direction", "Right")),
        )


class Padding(_Limit):
    """Pads encodings to `length` tokens, or to the longest of a batch; the fields are those of `enable_padding`."""

    length: int | None = field(optional(_size), default=None)
    pad_to_multiple_of: int | None = field(optional(_size), default=None)
    pad_id: int = field(integer(0, WORD), default=0)
    pad_token: str = field(string, default="[PAD]")
    pad_type_id: int = field(integer(0, WORD), default=0)
    direction: str = field(choice(*_DIRECTIONS.values()), default="right")

    def aim(self, longest: int) -> int:
        """Returns to how many tokens a batch is filled whose longest encoding has `longest` tokens."""
        length = longest if self.length is None else self.length
        return length + (-length % self.pad_to_multiple_of if self.pad_to_multiple_of else 0)

    def fill(self) -> dict[str, Any]:
        """Returns the arguments of `Encoding.pad` except the length."""
        return {name: getattr(self, name) for name in ("direction", "pad_id", "pad_type_id", "pad_token")}

    def to_dict(self) -> dict[str, Any]:
        """Returns the JSON form."""
        return {
            "strategy": "BatchLongest" if self.length is None else {"Fixed": self.length},
            "direction": self.direction.title(),
            "pad_to_multiple_of": self.pad_to_multiple_of,
            "pad_id": self.pad_id,
            "pad_type_id": self.pad_type_id,
            "pad_token": self.pad_token,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes it from the JSON form; raises WrongType or WrongValue if a field is missing or wrong."""
        return cls(
            reading("strategy", _read_length, needed(value, "strategy")),
            value.get("pad_to_multiple_of"),
            needed(value, "pad_id"),
            needed(value, "pad_token"),
            needed(value, "pad_type_id"),
            _read_word("direction", _DIRECTIONS, needed(value, "direction")),
        )


def _read_word(name: str, words: Mapping[str, str], word: Any) -> str:
    """Returns the value of an option from the word for it in JSON."""
    return words[checked(name, choice(*words), word)]


def _read_length(strategy: Any) -> int | None:
    """Returns the length of a padding from `strategy` in JSON; None stands for the longest encoding of a batch."""
    if strategy == "BatchLongest":
        return None
    if not isinstance(strategy, dict) or [*strategy] != ["Fixed"]:
        raise WrongValue(f'must be "BatchLongest" or {{"Fixed": ...}}, not {brief(strategy)}')
    return checked("Fixed", _size, strategy["Fixed"])

"""How long encodings may be, and are made: truncation and padding, which end step 4."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from gputok.fields import (
    SIZE,
    WORD,
    WrongValue,
    brief,
    checked,
    choice,
    integer,
    needed,
    optional,
    per_field,
    reading,
    string,
)

_STRATEGIES = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}
_DIRECTIONS = {"Left": "left", "Right": "right"}
_size = integer(0, SIZE)
_MOST = 2**62  # tokens: sums with it stay within 64 bits, and no text has so many


@dataclass(frozen=True)
class Truncation:
    """Encodings of more than `max_length` tokens are cut; see `Tokenizer.enable_truncation`."""

    max_length: int
    stride: int = 0
    strategy: str = "longest_first"
    direction: str = "right"

    checks = per_field(
        max_length=_size,
        stride=_size,
        strategy=choice(*_STRATEGIES.values()),
        direction=choice(*_DIRECTIONS.values()),
    )

    def __post_init__(self) -> None:
        _check_fields(self)

    def room(self, n_added: int) -> int:
        """For how many tokens there is room beside those that are added, perhaps less than none."""
        return min(self.max_length, _MOST) - n_added

    def options(self) -> dict[str, Any]:
        """The arguments of `enable_truncation` that give it."""
        return dataclasses.asdict(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "direction": self.direction.title(),
            "max_length": self.max_length,
            "strategy": next(name for name, value in _STRATEGIES.items() if value == self.strategy),
            "stride": self.stride,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """From the JSON form."""
        return cls(
            needed(value, "max_length"),
            needed(value, "stride"),
            _read_word("strategy", _STRATEGIES, needed(value, "strategy")),
            _read_word("direction", _DIRECTIONS, value.get("direction", "Right")),
        )


@dataclass(frozen=True)
class Padding:
    """Encodings are filled up to `length` tokens, or the longest of a batch; see `Tokenizer.enable_padding`."""

    length: int | None = None
    pad_to_multiple_of: int | None = None
    pad_id: int = 0
    pad_token: str = "[PAD]"
    pad_type_id: int = 0
    direction: str = "right"

    checks = per_field(
        length=optional(_size),
        pad_to_multiple_of=optional(_size),
        pad_id=integer(0, WORD),
        pad_token=string,
        pad_type_id=integer(0, WORD),
        direction=choice(*_DIRECTIONS.values()),
    )

    def __post_init__(self) -> None:
        _check_fields(self)

    def options(self) -> dict[str, Any]:
        """The arguments of `enable_padding` that give it."""
        return dataclasses.asdict(self)

    def fill(self) -> dict[str, Any]:
        """The arguments of `Encoding.pad`, but for the length."""
        return {name: getattr(self, name) for name in ("direction", "pad_id", "pad_type_id", "pad_token")}

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
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
        """From the JSON form."""
        return cls(
            reading("strategy", _read_length, needed(value, "strategy")),
            value.get("pad_to_multiple_of"),
            needed(value, "pad_id"),
            needed(value, "pad_token"),
            needed(value, "pad_type_id"),
            _read_word("direction", _DIRECTIONS, needed(value, "direction")),
        )


def _check_fields(limits: Any) -> None:
    for name, check in limits.checks.items():
        object.__setattr__(limits, name, checked(name, check, getattr(limits, name)))


def _read_word(name: str, words: Mapping[str, str], word: Any) -> str:
    """What an option is called here, from its word in JSON."""
    return words[checked(name, choice(*words), word)]


def _read_length(strategy: Any) -> int | None:
    if strategy == "BatchLongest":
        return None
    if not isinstance(strategy, dict) or [*strategy] != ["Fixed"]:
        raise WrongValue(f'must be "BatchLongest" or {{"Fixed": ...}}, not {brief(strategy)}')
    return checked("Fixed", _size, strategy["Fixed"])

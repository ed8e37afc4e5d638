"""How long encodings may be, and are made: truncation and padding, which end step 4."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Self

from gputok.encoding.encoding import check_direction

_STRATEGIES = {"LongestFirst": "longest_first", "OnlyFirst": "only_first", "OnlySecond": "only_second"}
_DIRECTIONS = {"Left": "left", "Right": "right"}


@dataclass(frozen=True)
class Truncation:
    """Encodings of more than `max_length` tokens are cut; see `Tokenizer.enable_truncation`."""

    max_length: int
    stride: int = 0
    strategy: str = "longest_first"
    direction: str = "right"

    def __post_init__(self) -> None:
        for name in ("max_length", "stride"):
            if (value := getattr(self, name)) < 0:
                raise OverflowError(f"{name} is {value}, expected a number of tokens")
        if self.strategy not in _STRATEGIES.values():
            raise ValueError(
                f"Unknown `strategy`: `{self.strategy}`. Use one of `longest_first`, `only_first`, or `only_second`"
            )
        check_direction(self.direction)

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
            natural("max_length", value["max_length"]),
            natural("stride", value["stride"]),
            _STRATEGIES[value["strategy"]],
            _DIRECTIONS[value.get("direction", "Right")],
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

    def __post_init__(self) -> None:
        check_direction(self.direction)
        for name in ("pad_id", "pad_type_id", "length"):
            if ((value := getattr(self, name)) or 0) < 0:
                raise OverflowError(f"{name} is {value}, expected a number from 0")

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
        strategy, multiple = value["strategy"], value.get("pad_to_multiple_of")
        return cls(
            None if strategy == "BatchLongest" else natural("Fixed", strategy["Fixed"]),
            None if multiple is None else natural("pad_to_multiple_of", multiple),
            natural("pad_id", value["pad_id"]),
            str(value["pad_token"]),
            natural("pad_type_id", value["pad_type_id"]),
            _DIRECTIONS[value["direction"]],
        )


def natural(name: str, value: Any) -> int:
    """A number in a file. ValueError unless it is a whole number below 2**32."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise ValueError(f"{name} must be a whole number from 0 to {(1 << 32) - 1}, not {value!r}")
    return value

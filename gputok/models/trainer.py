"""What every trainer is: options given by keyword, which are also its attributes, its `repr` and its pickle form."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

from gputok.components import Verbatim, described
from gputok.tokens.added_token import AddedToken
from gputok.types import public

_PROGRESS_FORMATS = {"indicatif": "Indicatif", "json": "JsonLines", "silent": "Silent"}


class Options:
    """Options that are checked when they are set; those of a dataclass, and no others."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in {field.name for field in dataclasses.fields(self)}:  # type: ignore[arg-type]
            raise AttributeError(f"{type(self).__name__} has no option {name!r}")
        super().__setattr__(name, _CHECKS[name](name, value) if name in _CHECKS else value)


@public("gputok.trainers")
class Trainer(Options):
    """Base of the trainers.

    A subclass is a dataclass (`@dataclass(kw_only=True, eq=False, repr=False)`) whose fields, in order, are the JSON
    form that the namesake keeps in pickles and shows as `repr`. Values are checked when they are set.
    """

    trains: ClassVar[str]
    """The name of the class of models that it trains."""

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON values."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}  # type: ignore[arg-type]
        if "special_tokens" in values:
            values["special_tokens"] = [token.to_dict() for token in self.special_tokens]  # type: ignore[attr-defined]
        if "progress_format" in values:
            values["progress_format"] = _PROGRESS_FORMATS[values["progress_format"]]
        return values

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """A trainer from `to_dict`'s form; keys that are no options are ignored."""
        options = {
            field.name: value[field.name]
            for field in dataclasses.fields(cls)  # type: ignore[arg-type]
            if field.name in value
        }
        if "special_tokens" in options:
            options["special_tokens"] = [AddedToken(**token) for token in options["special_tokens"]]
        if "progress_format" in options:
            names = {shown: name for name, shown in _PROGRESS_FORMATS.items()}
            options["progress_format"] = names[options["progress_format"]]
        return cls(**options)

    def __repr__(self) -> str:
        return self._described(99, None)

    def __str__(self) -> str:
        return self._described(5, 100)

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        name, fields = type(self).__name__, {**self.to_dict(), "words": {}}
        if "special_tokens" in fields:
            tokens = (described("AddedToken", token, n_items, n_bytes) for token in fields["special_tokens"])
            fields["special_tokens"] = list(map(Verbatim, tokens))
        if "progress_format" in fields:
            fields["progress_format"] = Verbatim(fields["progress_format"])
        return f"{name}({described(name, fields, n_items, n_bytes)})"

    def __getstate__(self) -> bytes:
        value = {type(self).__name__: {**self.to_dict(), "words": {}}}
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def __setstate__(self, state: bytes) -> None:
        options = json.loads(state)[type(self).__name__]
        self.__dict__.update(type(self).from_dict(options).__dict__)


def _natural(name: str, value: Any) -> int:
    if not hasattr(value, "__index__"):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < 0:
        raise OverflowError(f"{name} must not be negative: {value!r}")
    return int(value)


def _optional_natural(name: str, value: Any) -> int | None:
    return None if value is None else _natural(name, value)


def _number(name: str, value: Any) -> float:
    if not hasattr(value, "__float__"):
        raise TypeError(f"{name} must be a number, not {value!r}")
    return float(value)


def _optional_numbers(name: str, value: Any) -> list[float] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"{name} must be a list of numbers or None, not {value!r}")
    return [_number(name, item) for item in value]


def _variant(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f'{name} must be "base" or "window", not {value!r}')
    if value not in ("base", "window"):
        raise ValueError(f'{name} must be "base" or "window", not {value!r}')
    return value


def _boolean(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value


def _optional_string(name: str, value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a string or None, not {value!r}")
    return value


def _progress_format(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f'{name} must be "indicatif", "json" or "silent", not {value!r}')
    return value if value in _PROGRESS_FORMATS else "indicatif"


def _special_tokens(name: str, value: Any) -> list[AddedToken]:
    if not isinstance(value, list):
        raise TypeError(f"{name} must be a list of strings or AddedTokens, not {value!r}")
    return [special_token(item) for item in value]


def special_token(value: str | AddedToken) -> AddedToken:
    """The AddedToken of a special token given as a string; an AddedToken is made special, as the namesake does."""
    if isinstance(value, str):
        return AddedToken(value, special=True)
    value = AddedToken.adopt(value, special=True)
    if not isinstance(value, AddedToken):
        raise TypeError(f"special_tokens must be strings or AddedTokens, not {value!r}")
    return value


def _alphabet(name: str, value: Any) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{name} must be a list of strings, not {value!r}")
    characters = [*value]
    if wrong := [item for item in characters if not isinstance(item, str)]:
        raise TypeError(f"{name} must be a list of strings, but holds {wrong[0]!r}")
    return sorted({item[0] for item in characters if item})


_CHECKS = {
    "vocab_size": _natural,
    "min_frequency": _natural,
    "show_progress": _boolean,
    "progress_format": _progress_format,
    "special_tokens": _special_tokens,
    "limit_alphabet": _optional_natural,
    "initial_alphabet": _alphabet,
    "continuing_subword_prefix": _optional_string,
    "end_of_word_suffix": _optional_string,
    "max_token_length": _optional_natural,
    "unk_token": _optional_string,
    "max_piece_length": _natural,
    "n_sub_iterations": _natural,
    "seed_size": _natural,
    "num_merges": _natural,
    "variant": _variant,
    "ratio": _optional_numbers,
    "global_merges": _natural,
    "window_size": _natural,
    "alpha": _number,
    "total_symbols": _boolean,
}

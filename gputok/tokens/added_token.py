"""AddedToken: a token that a tokenizer has in addition to the vocabulary of its model."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, Self

from gputok.checks import Check, checked, needed, optional, reading, string, switch
from gputok.components import no_attribute, users_own
from gputok.lazy import public, without_collection

_SWITCHES = ("single_word", "lstrip", "rstrip", "normalized", "special")
_IN_FILES: dict[str, Check] = {"content": string, **dict.fromkeys(_SWITCHES, switch)}
_CHECKS = {name if name in ("content", "special") else f"_{name}": check for name, check in _IN_FILES.items()}
_CHECKS["_normalized"] = optional(switch)


@public("gputok")
class AddedToken:
    """A token that is searched for in the text, before the model tokenizes the rest of the text.

    In contrast to `tokenizers`, which only prints a line, an unknown option raises a TypeError.

    Args:
        content: the text of the token.
        single_word: True: the token is only found if no letter, digit or underscore touches it.
        lstrip: True: white space on the left of the token belongs to the token.
        rstrip: True: white space on the right of the token belongs to the token.
        normalized: True: search in the normalized text; False: in the raw text; None: the opposite of `special`.
        special: True: `decode` leaves out the token by default.

    Example:
        >>> AddedToken("[MASK]", lstrip=True)
        AddedToken("[MASK]", rstrip=False, lstrip=True, single_word=False, normalized=True, special=False)
    """

    def __init__(
        self,
        content: str | None = None,
        single_word: bool = False,
        lstrip: bool = False,
        rstrip: bool = False,
        normalized: bool | None = None,
        special: bool = False,
    ) -> None:
        self.content: str = "" if content is None else content
        self._single_word, self._lstrip, self._rstrip = single_word, lstrip, rstrip
        self._normalized = normalized
        self.special = special

    @classmethod
    def of_checked(
        cls, content: str, single_word: bool, lstrip: bool, rstrip: bool, normalized: bool, special: bool
    ) -> Self:
        """Makes a token of values that were checked."""
        token = object.__new__(cls)
        state = token.__dict__
        state["content"], state["special"] = content, special
        state["_single_word"], state["_normalized"] = single_word, normalized
        state["_lstrip"], state["_rstrip"] = lstrip, rstrip
        return token

    def copied(self) -> AddedToken:
        """Returns a token with the same options, as they are now."""
        options = self.single_word, self.lstrip, self.rstrip, self.normalized, self.special
        return AddedToken.of_checked(self.content, *options)

    @classmethod
    def adopt(cls, value: Any, *, special: bool = False) -> Any:
        """A token of `tokenizers` as one of this class, by its attributes; anything else as it is.

        special: makes `value` itself special first, as `tokenizers` does, since `normalized` can depend on it.
        """
        if type(value).__name__ != "AddedToken":
            return value
        if special:
            value.special = True
        return value if isinstance(value, cls) else cls(**{name: getattr(value, name) for name in _IN_FILES})

    def __setattr__(self, name: str, value: Any) -> None:
        if (check := _CHECKS.get(name)) is not None:
            value = checked(name.lstrip("_"), check, value)
        elif name not in _IN_FILES and not users_own(self):
            raise no_attribute(self, name, _IN_FILES)
        super().__setattr__(name, value)

    @property
    def single_word(self) -> bool:
        """True if the token is only found if no letter, digit or underscore touches it."""
        return self._single_word

    @property
    def lstrip(self) -> bool:
        """True if white space on the left of the token belongs to the token."""
        return self._lstrip

    @property
    def rstrip(self) -> bool:
        """True if white space on the right of the token belongs to the token."""
        return self._rstrip

    @property
    def normalized(self) -> bool:
        """True if the token is searched for in the normalized text, False if in the raw text."""
        return not self.special if self._normalized is None else self._normalized

    def to_dict(self) -> dict[str, Any]:
        """Returns the options by name, as in a tokenizer.json."""
        return {name: getattr(self, name) for name in _IN_FILES}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """Makes a token from its options by name; raises WrongValue if one is missing or wrong."""
        options: dict[str, Any] = {name: reading(name, check, needed(value, name)) for name, check in _IN_FILES.items()}
        return cls(**options)

    def __getstate__(self) -> dict[str, Any]:
        return self.to_dict()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)

    def __str__(self) -> str:
        return self.content

    def __repr__(self) -> str:
        return (
            f'AddedToken("{self.content}", rstrip={self.rstrip}, lstrip={self.lstrip}, '
            f"single_word={self.single_word}, normalized={self.normalized}, special={self.special})"
        )

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, AddedToken) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.content)


SWITCHES = [*map(operator.attrgetter, ("_normalized", "_single_word", "_lstrip", "_rstrip"))]
"""Functions that read an option of a token, faster than properties; for copies, whose `_normalized` is a bool."""


@without_collection()
def tokens_of(given: Iterable[str | AddedToken], *, special: bool) -> list[AddedToken]:
    """Makes tokens of strings, special or not, and copies tokens, which users may change; ValueError: no UTF-8."""
    given = [*given]
    if not _are_texts([token for token in given if isinstance(token, str)]):
        return [AddedToken(token, special=special) if isinstance(token, str) else token.copied() for token in given]
    made = AddedToken.of_checked
    return [
        made(str(token), False, False, False, not special, special) if isinstance(token, str) else token.copied()
        for token in given
    ]


@without_collection()
def tokens_of_forms(forms: Any) -> list[AddedToken] | None:
    """Makes tokens of their options by name, as in the list of a tokenizer.json; None: one is missing or wrong."""
    if type(forms) not in (list, tuple):
        return None
    try:
        rows: list[list[Any]] = [[form[name] for name in _IN_FILES] for form in forms]
    except (KeyError, TypeError, IndexError):
        return None
    return tokens_of_columns(*zip(*rows, strict=True)) if rows else []


def tokens_of_columns(contents: Sequence[Any], *switches: Sequence[Any]) -> list[AddedToken] | None:
    """Makes tokens of their contents, and of the other options in the order of a tokenizer.json; None: one is wrong."""
    if {*map(type, contents)} - {str} or any({*map(type, column)} - {bool} for column in switches):
        return None
    if not _are_texts(contents):
        return None
    return [AddedToken.of_checked(*row) for row in zip(contents, *switches, strict=True)]


def _are_texts(strings: Iterable[str]) -> bool:
    """Returns False if one of the strings has half of a surrogate pair, which no text in UTF-8 can."""
    try:
        "".join(strings).encode()
    except UnicodeEncodeError:
        return False
    return True

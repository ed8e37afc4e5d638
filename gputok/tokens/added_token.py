"""A token that is added to a tokenizer beside its model's vocabulary."""

from __future__ import annotations

from typing import Any, Self

from gputok.fields import checked, needed, optional, reading, string, switch
from gputok.types import public

_IN_FILES = {
    "content": string,
    "single_word": switch,
    "lstrip": switch,
    "rstrip": switch,
    "normalized": switch,
    "special": switch,
}
_CHECKS = {
    "content": string,
    "_single_word": switch,
    "_lstrip": switch,
    "_rstrip": switch,
    "_normalized": optional(switch),
    "special": switch,
}


@public("gputok")
class AddedToken:
    """A token that is found in the text as it stands, and how.

    content: its text.
    single_word: only where no letter, digit or underscore is beside it.
    lstrip, rstrip: white space on its left or right belongs to it.
    normalized: look for it in the normalized text, else in the raw text; by default it is the opposite of `special`.
    special: left out by `decode`.

    Unlike in the namesake, an unknown option is an error rather than a printed line.

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

    def __setattr__(self, name: str, value: Any) -> None:
        if (check := _CHECKS.get(name)) is not None:
            value = checked(name.lstrip("_"), check, value)
        super().__setattr__(name, value)

    @property
    def single_word(self) -> bool:
        """Is it found only where no letter, digit or underscore is beside it?"""
        return self._single_word

    @property
    def lstrip(self) -> bool:
        """Does white space on its left belong to it?"""
        return self._lstrip

    @property
    def rstrip(self) -> bool:
        """Does white space on its right belong to it?"""
        return self._rstrip

    @property
    def normalized(self) -> bool:
        """Is it looked for in the normalized text?"""
        return not self.special if self._normalized is None else self._normalized

    def to_dict(self) -> dict[str, Any]:
        """The options by name, as in a tokenizer.json."""
        return {
            "content": self.content,
            "single_word": self.single_word,
            "lstrip": self.lstrip,
            "rstrip": self.rstrip,
            "normalized": self.normalized,
            "special": self.special,
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        """From the options by name, all of which must be there."""
        return cls(**{name: reading(name, check, needed(value, name)) for name, check in _IN_FILES.items()})

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

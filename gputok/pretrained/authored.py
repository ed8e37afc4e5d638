"""Text of a chat template that knows who wrote each of its characters: the template, a message, or something else.

`apply_chat_template` needs this to trust special tokens of the template alone, and to find what the assistant wrote.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from gputok.types import Positions

OTHER, BY_TEMPLATE, _STRING, _MESSAGE, _GENERATED = 0, 1, 1 << 30, 1 << 44, 1 << 62
"""Origins: character c of string k (dicts count as well) of message i has _MESSAGE * (i + 1) + _STRING * k + c.

The bit _GENERATED is set in the origin of a character that the template writes within `{% generation %}`.
"""

Span = tuple[int, int]


class Authored(str):
    """A string with the origin of each character, int64[n]. Methods that are not defined here give plain strings.

    >>> text = Authored("<", BY_TEMPLATE) + Authored(" hi ").strip() + ">"
    >>> text, text.segments()
    ('<hi>', [('<', True), ('hi>', False)])
    """

    _origin: Positions
    protect: Any = None
    """The tokens that only the template may contain, as for `Tokenizer.encode_segments`."""

    def __new__(cls, text: str, origin: Any = OTHER) -> Authored:  # noqa: D102
        made = super().__new__(cls, text)
        made._origin = np.full(len(text), origin) if isinstance(origin, int) else origin
        return made

    @classmethod
    def joined(cls, parts: Iterable[str]) -> Authored:
        """Joins strings; the characters of plain strings have the origin OTHER."""
        parts = [part if isinstance(part, cls) else cls(part) for part in parts]
        return cls("".join(parts), np.concatenate([np.zeros(0, np.int64), *(part._origin for part in parts)]))

    def __str__(self) -> str:
        return self

    def __add__(self, other: Any) -> Any:
        return self.joined([self, other]) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return self.joined([other, self]) if isinstance(other, str) else NotImplemented

    def __getitem__(self, key: Any) -> Authored:
        return Authored(super().__getitem__(key), np.atleast_1d(self._origin[key]))

    def lstrip(self, chars: str | None = None) -> Authored:  # noqa: D102
        return self[len(self) - len(super().lstrip(chars)) :]

    def rstrip(self, chars: str | None = None) -> Authored:  # noqa: D102
        return self[: len(super().rstrip(chars))]

    def strip(self, chars: str | None = None) -> Authored:  # noqa: D102
        return self.lstrip(chars).rstrip(chars)

    def split(self, sep: str | None = None, maxsplit: Any = -1) -> list[Any]:  # noqa: D102
        parts, at = [], 0
        for part in super().split(sep, maxsplit):
            at = self.index(part, at)
            parts.append(self[at : at + len(part)])
            at += len(part) + len(sep or "")
        return parts

    def generated(self) -> Authored:
        """Returns the same text, marked as being within `{% generation %}`."""
        return Authored(self, self._origin | _GENERATED)

    def generated_spans(self) -> list[Span]:
        """Returns the spans of characters within `{% generation %}`."""
        edges = np.flatnonzero(np.diff(np.concatenate([[False], self._origin >= _GENERATED, [False]])))
        return [*zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]

    def segments(self) -> list[tuple[str, bool]]:
        """Returns the text in parts, as `Tokenizer.encode_segments` takes it: parts of the template are trusted."""
        trusted = self._origin & ~_GENERATED == BY_TEMPLATE
        cuts = [0, *(np.flatnonzero(np.diff(trusted)) + 1).tolist(), len(self)]
        parts = [(a, b) for a, b in itertools.pairwise(cuts) if a < b]
        return [(str.__getitem__(self, slice(a, b)), bool(trusted[a])) for a, b in parts]

    def span_of(self, number: int, prompt: str, ends: re.Pattern[str]) -> list[Span]:
        """Finds the span that a model writes: from the end of the generation prompt to the end token of the turn.

        number: the index of the model's message; prompt: the text that `add_generation_prompt` adds; ends: a pattern
        that finds special tokens. Returns no span if the template leaves the message out.
        """
        at = np.flatnonzero(self._origin // _MESSAGE == number + 1)
        if not len(at):
            return []
        # Only the first place of each character: a template may write the name of a function that the message calls
        # a second time, with the result of the function
        at = at[np.unique(self._origin[at], return_index=True)[1]]
        first, last = int(at.min()), int(at.max()) + 1
        given = np.flatnonzero(self._origin >= _MESSAGE)
        before = int(given[np.searchsorted(given, first) - 1]) + 1 if given[0] < first else 0
        # Searches the whole prompt, then the prompt without its last lines: these may begin a thought, as `<think>`
        # does, and a message need not have one
        for line in reversed([*itertools.accumulate(prompt.splitlines(keepends=True))]):
            if (begin := self.rfind(line, before, first)) >= 0:
                first = begin + len(line)
                break
        end = ends.search(self, last)
        if end and (self._origin[last : end.end()] < _MESSAGE).all():
            last = end.end()
        return [(first, last)]


class _Object(dict):
    """A message or a dict in it, with the origin that characters of its JSON form get (see `dumped`)."""

    origin: int


def owned(message: dict[str, Any], number: int) -> dict[str, Any]:
    """Copies a message, with its strings as `Authored` of message `number`; a role of one word counts as template."""
    found, role = _owned(message, itertools.count(_MESSAGE * (number + 1), _STRING)), message.get("role")
    if isinstance(role, str):
        found["role"] = Authored(role, BY_TEMPLATE if role.isidentifier() else OTHER)
    return found


def _owned(value: Any, origins: Iterator[int]) -> Any:
    if isinstance(value, str):
        return Authored(value, next(origins) + np.arange(len(value)))
    if isinstance(value, dict):
        made = _Object({key: _owned(item, origins) for key, item in value.items()})
        made.origin = next(origins)
        return made
    return type(value)(_owned(item, origins) for item in value) if isinstance(value, list | tuple) else value


def dumped(value: Any, **options: Any) -> str:
    """Returns the JSON form of a value. All of it counts as text of the first dict or string of a message in it."""
    text, first = json.dumps(value, **options), next(_origins(value), None)
    return text if first is None else Authored(text, first + np.arange(len(text)))


def _origins(value: Any) -> Iterator[int]:
    if isinstance(value, _Object):
        yield value.origin
    elif isinstance(value, Authored):
        yield from (origin for origin in value._origin[:1].tolist() if origin >= _MESSAGE)
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _origins(item)

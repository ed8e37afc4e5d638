"""Decoders: what makes text of tokens again.

>>> Sequence([ByteFallback(), Fuse()]).decode(["<0x48>", "<0x69>", " there"])
'Hi there'
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Sequence as ListOf
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from gputok.components import Component, call_custom, derived
from gputok.fields import (
    SIZE,
    WrongValue,
    character,
    choice,
    instances,
    integer,
    needed,
    per_field,
    string,
    switch,
)
from gputok.text.byte_alphabet import BYTE_CHARACTERS
from gputok.text.patterns import pattern_field, pattern_form, read_pattern, shown_pattern

if TYPE_CHECKING:
    from gputok.automaton.pattern import Regex


class Decoder(Component):
    """Base of all decoders."""

    kind: ClassVar[str] = "decoder"
    home: ClassVar[str] = "gputok.decoders"

    @staticmethod
    def custom(decoder: Any) -> Decoder:
        """A decoder written in Python: any object with `decode_chain(self, tokens: list[str]) -> list[str]`.

        >>> class Shouting:
        ...     def decode_chain(self, tokens):
        ...         return [token.upper() for token in tokens]
        >>> Decoder.custom(Shouting()).decode(["so", "there"])
        'SOTHERE'
        """
        return Custom(decoder)

    def decode(self, tokens: list[str]) -> str:
        """The text of a list of tokens."""
        return "".join(self.frozen().decode_chain(list(tokens)))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        """The parts of the text, which need only be joined."""
        raise NotImplementedError


class Custom(Decoder):
    """A decoder written in Python; it cannot be saved."""

    in_files = False

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder

    def to_dict(self) -> dict[str, Any]:
        raise TypeError(f"a custom decoder cannot be saved or pickled: {self.decoder!r}")

    def _described(self, n_items: int, n_bytes: int | None) -> str:
        return f"Decoder.custom({self.decoder!r})"

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return call_custom(self.decoder, "decode_chain", tokens)


@dataclasses.dataclass(eq=False, repr=False)
class BPEDecoder(Decoder):
    """Puts a space for the suffix that marks the end of a word, and nothing for the last one."""

    suffix: str = "</w>"

    checks = per_field(suffix=string)

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [token.replace(self.suffix, " ") for token in tokens[:-1]] + [
            token.replace(self.suffix, "") for token in tokens[-1:]
        ]


@dataclasses.dataclass(eq=False, repr=False)
class ByteFallback(Decoder):
    """Makes characters of tokens such as `<0xE2>`; bytes that are not UTF-8 become one `�` each."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        parts: list[str] = []
        for is_byte, group in itertools.groupby(
            tokens, lambda token: _BYTE_TOKEN.fullmatch(token) is not None
        ):
            if not is_byte:
                parts.extend(group)
                continue
            raw = bytes(int(token[3:5], 16) for token in group)
            try:
                parts.append(raw.decode())
            except UnicodeDecodeError:
                parts.extend("�" * len(raw))
        return parts


_BYTE_TOKEN = re.compile(r"<0x[0-9a-fA-F+][0-9a-fA-F]>")  # with a plus sign as well, like Rust's integers


@dataclasses.dataclass(eq=False, repr=False, init=False)
class ByteLevel(Decoder):
    """Makes bytes of the characters of the ByteLevel alphabet; a token with any other character stays as it is."""

    add_prefix_space: bool
    trim_offsets: bool
    use_regex: bool

    checks = per_field(add_prefix_space=switch, trim_offsets=switch, use_regex=switch)

    def __init__(self, **_options: Any) -> None:
        # kept in files, without any meaning here
        self.add_prefix_space = self.trim_offsets = self.use_regex = True

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        decoder = cls()
        for field in dataclasses.fields(cls):
            setattr(decoder, field.name, value.get(field.name, True))
        return decoder

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [b"".join(map(byte_level_bytes, tokens)).decode(errors="replace")]


_TO_BYTES = {ord(character): byte for byte, character in enumerate(BYTE_CHARACTERS)}
_ALPHABET = frozenset(BYTE_CHARACTERS)


@functools.lru_cache(maxsize=1 << 18)
def byte_level_bytes(token: str) -> bytes:
    """The bytes that a token of ByteLevel characters stands for."""
    return token.translate(_TO_BYTES).encode("latin-1") if _ALPHABET.issuperset(token) else token.encode()


@dataclasses.dataclass(eq=False, repr=False)
class CTC(Decoder):
    """Makes text of what a speech model says frame by frame (CTC): repeated tokens and padding are dropped.

    cleanup: put spaces for `word_delimiter_token`, and take those before punctuation out.
    """

    pad_token: str = "<pad>"
    word_delimiter_token: str = "|"
    cleanup: bool = True

    checks = per_field(pad_token=string, word_delimiter_token=string, cleanup=switch)

    def decode_chain(self, tokens: list[str]) -> list[str]:
        parts = [token.replace(self.pad_token, "") for token, _ in itertools.groupby(tokens)]
        if self.cleanup:
            parts = [cleanup(part).replace(self.word_delimiter_token, " ") for part in parts]
        return [part for part in parts if part]


@dataclasses.dataclass(eq=False, repr=False)
class Fuse(Decoder):
    """Joins all tokens into one, for the decoders that follow."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return ["".join(tokens)]


@dataclasses.dataclass(eq=False, repr=False)
class Metaspace(Decoder):
    """Puts spaces for `replacement`, and nothing in the first token, unless `prepend_scheme` is "never"."""

    replacement: str = "▁"
    prepend_scheme: str = dataclasses.field(default="always", metadata={"shown": str})
    split: bool = True

    checks = per_field(replacement=character, prepend_scheme=choice("first", "never", "always"), split=switch)

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        if value.get("add_prefix_space") is False and value.get("prepend_scheme") != "never":
            raise WrongValue("is false, which does not match prepend_scheme", "add_prefix_space")
        return super().from_dict(
            {name: item for name, item in value.items() if (name, item) != ("split", None)}
        )

    def decode_chain(self, tokens: list[str]) -> list[str]:
        opening = " " if self.prepend_scheme == "never" else ""
        return [token.replace(self.replacement, opening) for token in tokens[:1]] + [
            token.replace(self.replacement, " ") for token in tokens[1:]
        ]


@dataclasses.dataclass(eq=False, repr=False)
class Replace(Decoder):
    """Replaces in each token what a text or a `Regex` matches."""

    pattern: str | Regex = dataclasses.field(metadata={"shown": shown_pattern})
    content: str

    checks = per_field(pattern=pattern_field, content=string)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"pattern": pattern_form(self.pattern)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        return cls(read_pattern(value), needed(value, "content"))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        if isinstance(self.pattern, str) and self.pattern:
            return [token.replace(self.pattern, self.content) for token in tokens]
        return [self._normalizer.normalize_str(token) for token in tokens]

    @derived
    def _normalizer(self) -> Any:
        from gputok import normalizers

        return normalizers.Replace(self.pattern, self.content)


@dataclasses.dataclass(eq=False, repr=False, init=False)
class Strip(Decoder):
    """Takes at most `left` and `right` times the character `content` from the ends of each token."""

    content: str
    start: int
    stop: int

    checks = per_field(content=character, start=integer(0, SIZE), stop=integer(0, SIZE))

    def __init__(self, content: str = " ", left: int = 0, right: int = 0) -> None:
        self.content, self.start, self.stop = content, left, right

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        return cls(needed(value, "content"), needed(value, "start"), needed(value, "stop"))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [self._strip(token) for token in tokens]

    def _strip(self, token: str) -> str:
        left = min(self.start, len(token) - len(token.lstrip(self.content)))
        right = min(self.stop, len(token) - len(token.rstrip(self.content)))
        return token[left : max(left, len(token) - right)]


@dataclasses.dataclass(eq=False, repr=False)
class WordPiece(Decoder):
    """Joins tokens that begin with `prefix` to the one before, others with a space.

    cleanup: take out the spaces before punctuation and English contractions.
    """

    prefix: str = "##"
    cleanup: bool = True

    checks = per_field(prefix=string, cleanup=switch)

    def decode_chain(self, tokens: list[str]) -> list[str]:
        joined = tokens[:1] + [
            token[len(self.prefix) :] if token.startswith(self.prefix) else f" {token}"
            for token in tokens[1:]
        ]
        return [cleanup(part) for part in joined] if self.cleanup else joined


_CLEANUP = {
    " .": ".",
    " ?": "?",
    " !": "!",
    " ,": ",",
    " ' ": "'",
    " n't": "n't",
    " 'm": "'m",
    " do not": " don't",
    " 's": "'s",
    " 've": "'ve",
    " 're": "'re",
}


def cleanup(text: str) -> str:
    """Takes out the spaces that a tokenizer of words puts before punctuation and contractions."""
    for dirty, clean in _CLEANUP.items():
        text = text.replace(dirty, clean)
    return text


@dataclasses.dataclass(eq=False, repr=False)
class Sequence(Decoder):
    """Decoders one after the other."""

    elements = "decoders"

    decoders: ListOf[Decoder]

    checks = per_field(decoders=instances(Decoder))

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Self:
        return cls(cls._read_elements(value, Decoder))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        for decoder in self.decoders:
            tokens = decoder.decode_chain(tokens)
        return tokens


class Decodes(Protocol):
    """What gives the text of ids: a tokenizer."""

    def decode(self, ids: list[int], skip_special_tokens: bool = True) -> str: ...


class DecodeStream:
    """Text of ids that come one by one: each step gives what is new, or None while a character is incomplete.

    ids: what comes before the first step, such as a prompt; it is context, and not given out.
    """

    def __init__(self, ids: list[int] | None = None, skip_special_tokens: bool = False) -> None:
        self._ids = list(ids or [])
        self._skip_special_tokens = bool(skip_special_tokens)
        self._prefix = ""  # what `_ids[:_n_given]` decode to
        self._n_given = 0

    def step(self, tokenizer: Decodes, id: int | list[int]) -> str | None:
        """The text that one id more, or several, make complete."""
        if not self._prefix and self._ids:
            prefix = tokenizer.decode(self._ids, self._skip_special_tokens)
            if not prefix.endswith("�"):
                self._prefix, self._n_given = prefix, len(self._ids)
        self._ids += [id] if hasattr(id, "__index__") else list(id)
        text = tokenizer.decode(self._ids, self._skip_special_tokens)
        if len(text.encode()) <= len(self._prefix.encode()) or text.endswith("�"):
            return None
        if not text.startswith(self._prefix):
            raise ValueError(
                f"Invalid prefix encountered while decoding stream. Token ID: {self._ids[-1]}, "
                f"Expected prefix: '{self._prefix}', Actual string: '{text}'"
            )
        new = text[len(self._prefix) :]
        self._ids, self._n_given = self._ids[self._n_given :], len(self._ids) - self._n_given
        self._prefix = tokenizer.decode(self._ids, self._skip_special_tokens)
        return new

    def __copy__(self) -> DecodeStream:
        other = DecodeStream(self._ids, self._skip_special_tokens)
        other._prefix, other._n_given = self._prefix, self._n_given
        return other

    def __deepcopy__(self, memo: dict) -> DecodeStream:
        return self.__copy__()

"""Decoders turn tokens into text.

Example:
    >>> Sequence([ByteFallback(), Fuse()]).decode(["<0x48>", "<0x69>", " there"])
    'Hi there'
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence as ListOf
from typing import Any, ClassVar, SupportsIndex

from gputok.automaton.pattern import PATTERN, Regex
from gputok.checks import SIZE, character, checked, choice, elements, field, integer, optional, string, switch
from gputok.components import Chain, Code, Component, OlderMetaspace, call_custom, derived
from gputok.text.byte_alphabet import BYTE_CHARACTERS


class Decoder(Component):
    """Base class of all decoders."""

    kind: ClassVar[str] = "decoder"
    home: ClassVar[str] = "gputok.decoders"

    @staticmethod
    def custom(decoder: Any) -> Decoder:
        """Makes a decoder from an object that a user wrote in Python.

        Args:
            decoder: an object with the method `decode_chain(self, tokens: list[str]) -> list[str]`.

        Returns:
            A decoder that calls the object. It cannot be saved.

        Example:
            >>> class Shouting:
            ...     def decode_chain(self, tokens):
            ...         return [token.upper() for token in tokens]
            >>> Decoder.custom(Shouting()).decode(["so", "there"])
            'SOTHERE'
        """
        return Custom(decoder)

    def decode(self, tokens: list[str]) -> str:
        """Turns tokens into text.

        Args:
            tokens: the tokens, as the vocabulary writes them.

        Returns:
            The text.
        """
        return "".join(self.frozen().decode_chain(list(tokens)))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        """Turns tokens into parts of the text.

        Args:
            tokens: the tokens, or the parts that another decoder made of them.

        Returns:
            The parts; joined, they are the text.
        """
        raise NotImplementedError


class Custom(Code, Decoder):
    """A decoder that a user wrote in Python."""

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return call_custom(self.code, "decode_chain", tokens)


class BPEDecoder(Decoder):
    """Replaces the suffix that marks the end of a word by a space, and removes that of the last token.

    Args:
        suffix: the suffix.

    Example:
        >>> BPEDecoder().decode(["so</w>", "it</w>", "go", "es</w>"])
        'so it goes'
    """

    suffix: str = field(string, default="</w>")

    def decode_chain(self, tokens: list[str]) -> list[str]:
        last = [token.replace(self.suffix, "") for token in tokens[-1:]]
        return [token.replace(self.suffix, " ") for token in tokens[:-1]] + last


class ByteFallback(Decoder):
    """Turns tokens for bytes, such as `<0xE2>`, into characters. Each byte that is not UTF-8 becomes a `�`.

    >>> ByteFallback().decode(["<0xC3>", "<0xA9>", "t", "é"])
    'été'
    """

    def decode_chain(self, tokens: list[str]) -> list[str]:
        parts: list[str] = []
        for is_byte, group in itertools.groupby(tokens, is_byte_token):
            if not is_byte:
                parts.extend(group)
                continue
            raw = bytes(int(token[3:5], 16) for token in group)
            try:
                parts.append(raw.decode())
            except UnicodeDecodeError:
                parts.extend("�" * len(raw))
        return parts


def is_byte_token(token: str) -> bool:
    """Returns True for a token that stands for a byte, such as `<0xE2>`."""
    # Rust reads `+A` as a number, so tokenizers takes `<0x+A>` for a byte
    return len(token) == 6 and re.fullmatch(r"<0x[0-9a-fA-F+][0-9a-fA-F]>", token) is not None


class ByteLevel(Decoder):
    r"""Turns the characters of the byte-level alphabet into bytes. A token with another character stays as it is.

    Args:
        _options: `add_prefix_space`, `trim_offsets` and `use_regex`: accepted as in `tokenizers`, and without effect.

    Example:
        >>> ByteLevel().decode(["Hello", "Ġworld", "Ċ"])
        'Hello world\n'
    """

    add_prefix_space: bool = field(switch)
    trim_offsets: bool = field(switch)
    use_regex: bool = field(switch, default=True, may_lack=True)

    def __init__(self, **_options: Any) -> None:
        # these fields are part of the file format, but decoding does not depend on them
        self.add_prefix_space = self.trim_offsets = self.use_regex = True

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [b"".join(map(byte_level_bytes, tokens)).decode(errors="replace")]


_TO_BYTES = {ord(character): byte for byte, character in enumerate(BYTE_CHARACTERS)}
_ALPHABET = frozenset(BYTE_CHARACTERS)


@functools.lru_cache(maxsize=1 << 18)
def byte_level_bytes(token: str) -> bytes:
    """Returns the bytes of a token that is written in the byte-level alphabet.

    >>> byte_level_bytes("Ġhi")
    b' hi'
    """
    return token.translate(_TO_BYTES).encode("latin-1") if _ALPHABET.issuperset(token) else token.encode()


class CTC(Decoder):
    """Turns the tokens that a speech model predicts for each frame (CTC) into text, without repetitions and padding.

    Args:
        pad_token: the token that stands between repeated characters, and for silence.
        word_delimiter_token: the token between words.
        cleanup: replace `word_delimiter_token` by a space, and remove spaces before punctuation.

    Example:
        >>> CTC().decode(["<pad>", "h", "h", "e", "l", "<pad>", "l", "o", "|", "y", "o", "u"])
        'hello you'
    """

    pad_token: str = field(string, default="<pad>")
    word_delimiter_token: str = field(string, default="|")
    cleanup: bool = field(switch, default=True)

    def decode_chain(self, tokens: list[str]) -> list[str]:
        parts = [token.replace(self.pad_token, "") for token, _ in itertools.groupby(tokens)]
        if self.cleanup:
            parts = [cleanup(part).replace(self.word_delimiter_token, " ") for part in parts]
        return [part for part in parts if part]


class Fuse(Decoder):
    """Joins all tokens into one, for the decoders that follow.

    >>> Fuse().decode_chain(["so", "it"])
    ['soit']
    """

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return ["".join(tokens)]


class Metaspace(OlderMetaspace, Decoder):
    """Replaces the character that marks spaces by a space, and removes it from the first token.

    Args:
        replacement: the character.
        prepend_scheme: that of the pre-tokenizer: "always", "first", or "never"; "never" keeps the space of the first
            token.
        split: accepted as in `tokenizers`, and without effect.

    Example:
        >>> Metaspace().decode(["▁so", "▁it", "▁go", "es"])
        'so it goes'
    """

    replacement: str = field(character, default="▁")
    prepend_scheme: str = field(choice("first", "never", "always"), default="always", may_lack=True, shown=str)
    split: bool = field(switch, default=True, may_lack=True, read=optional(switch, True))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        opening = " " if self.prepend_scheme == "never" else ""
        first = [token.replace(self.replacement, opening) for token in tokens[:1]]
        return first + [token.replace(self.replacement, " ") for token in tokens[1:]]


class Replace(Decoder):
    """Replaces each match of a pattern in each token.

    Args:
        pattern: a string, which matches itself, or a `Regex`.
        content: the text that replaces each match.

    Example:
        >>> Replace("_", " ").decode(["so", "_it"])
        'so it'
    """

    pattern: str | Regex = field(**PATTERN)
    content: str = field(string)

    def decode_chain(self, tokens: list[str]) -> list[str]:
        if isinstance(self.pattern, str) and self.pattern:
            return [token.replace(self.pattern, self.content) for token in tokens]
        return [self._normalizer.normalize_str(token) for token in tokens]

    @derived
    def _normalizer(self) -> Any:
        from gputok import normalizers

        return normalizers.Replace(self.pattern, self.content)


class Strip(Decoder):
    """Removes a character from the ends of each token.

    Args:
        content: the character.
        left: how many of them are removed from the start, at most.
        right: how many of them are removed from the end, at most.

    Example:
        >>> Strip("_", left=1).decode(["__so", "it_"])
        '_soit_'
    """

    content: str = field(character)
    start: int = field(integer(0, SIZE))
    stop: int = field(integer(0, SIZE))

    def __init__(self, content: str = " ", left: int = 0, right: int = 0) -> None:
        self.content, self.start, self.stop = content, left, right

    def decode_chain(self, tokens: list[str]) -> list[str]:
        return [self._strip(token) for token in tokens]

    def _strip(self, token: str) -> str:
        left = min(self.start, len(token) - len(token.lstrip(self.content)))
        right = min(self.stop, len(token) - len(token.rstrip(self.content)))
        return token[left : max(left, len(token) - right)]


class WordPiece(Decoder):
    """Joins tokens that begin with the prefix to the token before, and other tokens with a space.

    Args:
        prefix: the prefix of tokens that continue a word.
        cleanup: remove the spaces before punctuation and in English contractions.

    Example:
        >>> WordPiece().decode(["it", "does", "n't", "play", "##ing", "."])
        "it doesn't playing."
    """

    prefix: str = field(string, default="##")
    cleanup: bool = field(switch, default=True)

    def decode_chain(self, tokens: list[str]) -> list[str]:
        joined = tokens[:1] + [
            token[len(self.prefix) :] if token.startswith(self.prefix) else f" {token}" for token in tokens[1:]
        ]
        return [cleanup(part) for part in joined] if self.cleanup else joined


_CLEANUP = {" .": ".", " ?": "?", " !": "!", " ,": ",", " ' ": "'", " n't": "n't", " 'm": "'m", " do not": " don't"}
_CLEANUP |= {" 's": "'s", " 've": "'ve", " 're": "'re"}


def cleanup(text: str) -> str:
    """Removes the spaces before punctuation and in English contractions.

    >>> cleanup("it does n't , so")
    "it doesn't, so"
    """
    for dirty, clean in _CLEANUP.items():
        text = text.replace(dirty, clean)
    return text


class Sequence(Chain, Decoder):
    """Calls decoders one after the other.

    Args:
        decoders: the decoders, in this order.

    Example:
        >>> Sequence([Replace("▁", " "), Strip(left=1)]).decode(["▁so", "▁it"])
        'soit'
    """

    flattens = False
    decoders: ListOf[Decoder] = field(**elements(Decoder))

    def decode_chain(self, tokens: list[str]) -> list[str]:
        for decoder in self.decoders:
            tokens = decoder.decode_chain(tokens)
        return tokens


class DecodeStream:
    r"""Turns ids that arrive one by one into text: each step returns the new text.

    Args:
        ids: the ids before the first step, such as a prompt. They are the context, and their text is not returned.
        skip_special_tokens: leave special tokens out; None: False.

    Example:
        >>> from gputok import Tokenizer, models
        >>> tokenizer = Tokenizer(models.BPE({"Ã": 0, "©": 1, "t": 2}, []))
        >>> tokenizer.decoder = ByteLevel()
        >>> stream = DecodeStream()
        >>> [stream.step(tokenizer, id) for id in (0, 1, 2)]
        [None, 'é', 't']
        >>> stream.step(tokenizer, 0), stream.held_bytes(tokenizer), stream.flush(tokenizer)
        (None, b'\xc3', '�')
    """

    __slots__ = ("_ids", "_n_given", "_prefix", "_skip_special_tokens")

    def __init__(self, ids: list[int] | None = None, skip_special_tokens: bool | None = False) -> None:
        self._ids: list[int] = list(ids or [])
        self._skip_special_tokens = checked("skip_special_tokens", optional(switch, False), skip_special_tokens)
        self._prefix = ""  # the text of `_ids[:_n_given]`
        self._n_given = 0

    def step(self, tokenizer: Any, id: int | list[int]) -> str | None:
        """Adds an id, or several.

        Args:
            tokenizer: the tokenizer, the same in each step.
            id: the id, or a list of ids.

        Returns:
            The new text; None if the ids end within a character.

        Raises:
            ValueError: the tokenizer decodes the earlier ids to another text than before.
        """
        self._begin(tokenizer)
        self._ids += [int(id)] if isinstance(id, SupportsIndex) else list(id)
        text = tokenizer.decode(self._ids, self._skip_special_tokens)
        if len(text.encode()) <= len(self._prefix.encode()) or text.endswith("�"):
            return None
        if not text.startswith(self._prefix):
            facts = f"Token ID: {self._ids[-1]}, Expected prefix: '{self._prefix}', Actual string: '{text}'"
            raise ValueError(f"Invalid prefix encountered while decoding stream. {facts}")
        new = text[len(self._prefix) :]
        self._ids, self._n_given = self._ids[self._n_given :], len(self._ids) - self._n_given
        self._prefix = tokenizer.decode(self._ids, self._skip_special_tokens)
        return new

    def _begin(self, tokenizer: Any) -> None:
        """Decodes the ids before the first step, whose text is not returned, unless they end within a character."""
        if not self._prefix and self._ids:
            prefix = tokenizer.decode(self._ids, self._skip_special_tokens)
            if not prefix.endswith("�"):
                self._prefix, self._n_given = prefix, len(self._ids)

    def flush(self, tokenizer: Any) -> str | None:
        """Ends the stream, and returns the text that it held back, with `�` for what is no UTF-8; None: no text.

        The next step begins a new stream, without context.
        """
        self._begin(tokenizer)
        text = tokenizer.decode(self._ids, self._skip_special_tokens)[len(self._prefix) :]
        self._ids, self._prefix, self._n_given = [], "", 0
        return text or None

    def held_bytes(self, tokenizer: Any) -> bytes:
        """Returns the bytes (`Tokenizer.decode_bytes`) of the ids whose text no step has returned yet."""
        self._begin(tokenizer)
        return tokenizer.decode_bytes(self._ids[self._n_given :], self._skip_special_tokens)

    def __copy__(self) -> DecodeStream:
        other = DecodeStream(self._ids, self._skip_special_tokens)
        other._prefix, other._n_given = self._prefix, self._n_given
        return other

    def __deepcopy__(self, memo: dict) -> DecodeStream:
        return self.__copy__()

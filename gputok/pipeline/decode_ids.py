"""Decodes ids to text. If a decoder treats each token alone, the text of each id is computed once and then looked up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gputok import decoders
    from gputok.decoders import Decoder
    from gputok.pipeline.pipeline import Pipeline

_MOST = 1 << 20  # the largest number of ids in a table


def decode(pipeline: Pipeline, ids: Sequence[int], skip_special_tokens: bool) -> str:
    """Returns the text of ids, which must be whole numbers."""
    skip, decodings = bool(skip_special_tokens), pipeline.kept.engines.decodings
    try:
        decoding = decodings[skip]
    except KeyError:
        decoding = decodings.setdefault(skip, _decoding(pipeline, skip))
    return decoding(ids)


def tokens(pipeline: Pipeline, ids: Sequence[int], skip_special_tokens: bool) -> list[str]:
    """Returns the texts of tokens, without those of ids that no token has."""
    special: set[str] = pipeline.added.special if skip_special_tokens else set()
    texts = map(pipeline.names.texts.__getitem__, ids)
    return [text for text in texts if text is not None and text not in special]


def _decoding(pipeline: Pipeline, skip: bool) -> Callable[[Sequence[int]], str]:
    from gputok import decoders

    texts = pipeline.names.texts
    special: frozenset[str] = frozenset(pipeline.added.special) if skip else frozenset()

    def token(id: int) -> str | None:
        """The text of a token; None for a special token that is left out."""
        text = texts[id]
        return None if text in special else text

    decoder = pipeline.decoder
    if isinstance(decoder, decoders.ByteLevel):
        raw = Table(lambda id: b"" if (text := token(id)) is None else decoders.byte_level_bytes(text))
        return lambda ids: b"".join(map(raw.__getitem__, ids)).decode(errors="replace")

    def one_by_one(ids: Sequence[int]) -> str:
        tokens = [text for text in map(token, ids) if text is not None]
        return " ".join(tokens) if decoder is None else "".join(decoder.decode_chain(tokens))

    if (pair := _apart(decoder)) is not None:
        return _first_and_others(token, *pair)
    if isinstance(decoder, decoders.Sequence) and (found := _chain(decoder)) is not None:
        return _joined(token, *found, one_by_one)
    return one_by_one


class Table(dict[int, Any]):
    """Id -> the result of a function for this id, computed at the first access."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, id: int) -> Any:
        found = self._make(id)
        if len(self) < _MOST:
            self[id] = found
        return found


def _apart(decoder: Decoder | None) -> tuple[Callable[[str], str], Callable[[str], str]] | None:
    """Returns the text of the first token, and that of any other token, as functions of the token.

    None: the decoder does more than replace each token.
    """
    from gputok import decoders

    if decoder is None:
        return lambda text: text, lambda text: f" {text}"
    if isinstance(decoder, decoders.WordPiece | decoders.Metaspace):

        def first(text: str) -> str:
            return decoder.decode_chain([text])[0]

        def other(text: str) -> str:
            return decoder.decode_chain(["", text])[1]

        return first, other
    return None


def _first_and_others(
    token: Callable[[int], str | None], first: Callable[[str], str], other: Callable[[str], str]
) -> Callable[[Sequence[int]], str]:
    opening = Table(lambda id: None if (text := token(id)) is None else first(text))
    following = Table(lambda id: "" if (text := token(id)) is None else other(text))

    def decode(ids: Sequence[int]) -> str:
        for at, id in enumerate(ids):
            if (begin := opening[id]) is not None:
                return begin + "".join(map(following.__getitem__, ids[at + 1 :]))
        return ""

    return decode


def _chain(decoder: decoders.Sequence) -> tuple[Callable[[str], str | None], list[Decoder]] | None:
    """Splits a chain of decoders at `Fuse`, which joins all tokens.

    Returns the function of the decoders before `Fuse`, from a token to its text (None: the text depends on other tokens),
    and the decoders after `Fuse`. None: the chain has no `Fuse`, or a decoder before it treats tokens together.
    """
    from gputok import decoders

    parts = [*decoder.decoders]
    n = next((i for i, part in enumerate(parts) if isinstance(part, decoders.Fuse)), len(parts))
    before, after = parts[:n], parts[n + 1 :]
    if n == len(parts) or not all(
        isinstance(part, decoders.Replace | decoders.Strip | decoders.ByteFallback) for part in before
    ):
        return None

    def local(text: str) -> str | None:
        for part in before:
            if isinstance(part, decoders.ByteFallback) and decoders.is_byte_token(text):
                return None
            (text,) = part.decode_chain([text])
        return text

    return local, after


def _joined(
    token: Callable[[int], str | None],
    local: Callable[[str], str | None],
    after: list[Decoder],
    slow: Callable[[Sequence[int]], str],
) -> Callable[[Sequence[int]], str]:
    parts = Table(lambda id: "" if (text := token(id)) is None else local(text))

    def decode(ids: Sequence[int]) -> str:
        found = list(map(parts.__getitem__, ids))
        if None in found:
            return slow(ids)
        texts = ["".join(found)]
        for part in after:
            texts = part.decode_chain(texts)
        return "".join(texts)

    return decode

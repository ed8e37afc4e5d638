"""The text of ids, by what each id adds to it: looked up, where a decoder works on each token by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gputok import decoders
    from gputok.decoders import Decoder
    from gputok.pipeline.pipeline import Pipeline

_MOST = 1 << 20  # ids of which is kept what they add


def decode(pipeline: Pipeline, ids: Sequence[int], skip_special_tokens: bool) -> str:
    """The text of ids, each a whole number."""
    key = "all", bool(skip_special_tokens)
    try:
        decoding = pipeline.kept[key]
    except KeyError:
        decoding = pipeline.kept.setdefault(key, _decoding(pipeline, key[1]))
    return decoding(ids)


def _decoding(pipeline: Pipeline, skip: bool) -> Callable[[Sequence[int]], str]:
    from gputok import decoders

    texts = pipeline.names.texts
    special = frozenset(pipeline.added.special) if skip else frozenset()

    def token(id: int) -> str | None:
        """Its text, None for what is left out."""
        text = texts[id]
        return None if text in special else text

    decoder = pipeline.decoder
    if isinstance(decoder, decoders.ByteLevel):
        raw = _Table(lambda id: b"" if (text := token(id)) is None else decoders.byte_level_bytes(text))
        return lambda ids: b"".join(map(raw.__getitem__, ids)).decode(errors="replace")

    def one_by_one(ids: Sequence[int]) -> str:
        tokens = [text for text in map(token, ids) if text is not None]
        return " ".join(tokens) if decoder is None else "".join(decoder.decode_chain(tokens))

    if (pair := _apart(decoder)) is not None:
        return _first_and_others(token, *pair)
    if isinstance(decoder, decoders.Sequence) and (found := _chain(decoder)) is not None:
        return _joined(token, *found, one_by_one)
    return one_by_one


class _Table(dict[int, Any]):
    """Id -> what a function gives for it."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, id: int) -> Any:
        found = self._make(id)
        if len(self) < _MOST:
            self[id] = found
        return found


def _apart(decoder: Decoder | None) -> tuple[Callable[[str], str], Callable[[str], str]] | None:
    """What the first token becomes, and what any other one; None: that is not all."""
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
    opening = _Table(lambda id: None if (text := token(id)) is None else first(text))
    following = _Table(lambda id: "" if (text := token(id)) is None else other(text))

    def decode(ids: Sequence[int]) -> str:
        for at, id in enumerate(ids):
            if (begin := opening[id]) is not None:
                return begin + "".join(map(following.__getitem__, ids[at + 1 :]))
        return ""

    return decode


def _chain(decoder: decoders.Sequence) -> tuple[Callable[[str], str | None], list[Decoder]] | None:
    """What each token becomes before all are joined (None: it depends on others), and the decoders behind that.

    None: it is another chain.
    """
    from gputok import decoders

    parts = [*decoder.decoders]
    n = next((i for i, part in enumerate(parts) if isinstance(part, decoders.Fuse)), len(parts))
    before, behind = parts[:n], parts[n + 1 :]
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

    return local, behind


def _joined(
    token: Callable[[int], str | None],
    local: Callable[[str], str | None],
    behind: list[Decoder],
    slow: Callable[[Sequence[int]], str],
) -> Callable[[Sequence[int]], str]:
    parts = _Table(lambda id: "" if (text := token(id)) is None else local(text))

    def decode(ids: Sequence[int]) -> str:
        found = list(map(parts.__getitem__, ids))
        if None in found:
            return slow(ids)
        texts = ["".join(found)]
        for part in behind:
            texts = part.decode_chain(texts)
        return "".join(texts)

    return decode

"""Decodes ids to text, or to the bytes of each token, and tells whether encoding that text would give the same ids.

If a decoder treats each token alone, the text of each id is computed once and then looked up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from gputok import decoders
from gputok.decoders import byte_level_bytes, is_byte_token
from gputok.encoding.rows import LazyTable
from gputok.text.pieces import TextBatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gputok.components import Component
    from gputok.decoders import Decoder
    from gputok.pipeline.pipeline import Pipeline
    from gputok.types import Ids, Positions


def decode(pipeline: Pipeline, ids: Sequence[int], skip_special_tokens: bool) -> str:
    """Returns the text of ids, which must be whole numbers."""
    skip, engines = bool(skip_special_tokens), pipeline.engines
    decoding = engines.made.get(("decode", skip)) or engines.once(("decode", skip), lambda: _decoding(pipeline, skip))
    return decoding(ids)


def tokens(pipeline: Pipeline, ids: Sequence[int], skip_special_tokens: bool) -> list[str]:
    """Returns the texts of tokens, without those of ids that no token has."""
    special: set[str] = pipeline.added.special if skip_special_tokens else set()
    texts = map(pipeline.names.texts.__getitem__, ids)
    return [text for text in texts if text is not None and text not in special]


def _decoding(pipeline: Pipeline, skip: bool) -> Callable[[Sequence[int]], str]:
    texts = pipeline.names.texts
    special: frozenset[str] = frozenset(pipeline.added.special) if skip else frozenset()

    def token(id: int) -> str | None:
        """The text of a token; None for a special token that is left out."""
        text = texts[id]
        return None if text in special else text

    decoder = pipeline.decoder
    if isinstance(decoder, decoders.ByteLevel):
        raw = LazyTable(lambda id: b"" if (text := token(id)) is None else decoders.byte_level_bytes(text))
        return lambda ids: b"".join(map(raw.__getitem__, ids)).decode(errors="replace")

    def one_by_one(ids: Sequence[int]) -> str:
        tokens = [text for text in map(token, ids) if text is not None]
        return " ".join(tokens) if decoder is None else "".join(decoder.decode_chain(tokens))

    if (found := _apart(decoder)) is None:
        return one_by_one
    first, other, after = found
    opening = LazyTable(lambda id: "" if (text := token(id)) is None else first(text))
    following = LazyTable(lambda id: "" if (text := token(id)) is None else other(text))

    def joined(ids: Sequence[int]) -> str:
        parts = [*map(following.__getitem__, ids)]
        if after is not None and None in parts:
            return one_by_one(ids)
        if first is not other and (at := next((i for i, id in enumerate(ids) if token(id) is not None), -1)) >= 0:
            parts[at] = opening[ids[at]]
        texts = ["".join(parts)]
        for part in after or ():
            texts = part.decode_chain(texts)
        return "".join(texts)

    return joined


_Text = Callable[[str], "str | None"]


def _apart(decoder: Decoder | None) -> tuple[_Text, _Text, list[Decoder] | None] | None:
    """Splits a decoder into what it does to each token alone, and to the joined text; None: this is not possible.

    Returns two functions, from the first token and from any other token to its text, and the decoders of the joined
    text; None instead of decoders: the functions do everything. A Sequence is split at `Fuse`, which joins the tokens;
    its functions return None for a token of `ByteFallback`, whose text depends on the tokens beside it.
    """
    if decoder is None:
        return lambda text: text, lambda text: f" {text}", None
    if isinstance(decoder, decoders.WordPiece | decoders.Metaspace):
        return lambda text: decoder.decode_chain([text])[0], lambda text: decoder.decode_chain(["", text])[1], None
    parts: list[Decoder] = [*decoder.decoders] if isinstance(decoder, decoders.Sequence) else []
    n = next((i for i, part in enumerate(parts) if isinstance(part, decoders.Fuse)), len(parts))
    before, alone = parts[:n], decoders.Replace | decoders.Strip | decoders.ByteFallback
    if n == len(parts) or not all(isinstance(part, alone) for part in before):
        return None

    def local(text: str) -> str | None:
        for part in before:
            if isinstance(part, decoders.ByteFallback) and decoders.is_byte_token(text):
                return None
            (text,) = part.decode_chain([text])
        return text

    return local, local, parts[n + 1 :]


# -- bytes

_FORMS = {"NFC", "NFD", "NFKC", "NFKD", "ByteLevel"}
_PREPEND = {"type": "Prepend", "prepend": "▁"}
_REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}


def speller(pipeline: Pipeline) -> Callable[[int, str], bytes]:
    """Returns a function: the id of a token and its name -> its bytes, without marks of its position such as `##`.

    >>> from gputok import Tokenizer, models
    >>> speller(Tokenizer(models.WordPiece({"##ing": 0}, unk_token="##ing")).pipeline)(0, "##ing")
    b'ing'
    """
    model, added = pipeline.model, pipeline.added.tokens
    prefix = getattr(model, "continuing_subword_prefix", None) or ""
    suffix = getattr(model, "end_of_word_suffix", None) or ""
    leaves = _leaves(pipeline.normalizer, pipeline.pre_tokenizer, pipeline.decoder)
    kinds = {type(leaf).__name__ for leaf in leaves}
    of_bytes = "ByteFallback" in kinds or getattr(model, "byte_fallback", False)
    spaces = {leaf.replacement for leaf in leaves if type(leaf).__name__ == "Metaspace"}
    replaced = [(leaf.pattern, leaf.content) for leaf in leaves if type(leaf).__name__ == "Replace"]
    if ("▁", " ") in replaced or (" ", "▁") in replaced:
        spaces.add("▁")

    def spelled(id: int, token: str) -> bytes:
        if id in added:
            return added[id].content.encode()
        token = token.removeprefix(prefix).removesuffix(suffix) or token
        if of_bytes and is_byte_token(token):
            return bytes([int(token[3:5], 16)])
        if "ByteLevel" in kinds:
            return byte_level_bytes(token)
        for mark in spaces:
            token = token.replace(mark, " ")
        return token.encode()

    return spelled


def bytes_by_id(pipeline: Pipeline) -> dict[int, bytes | None]:
    """Returns the bytes of each token, made at the first access to its id; None: no token has the id."""

    def table() -> LazyTable:
        spelled, texts = speller(pipeline), pipeline.names.texts
        return LazyTable(lambda id: None if (text := texts[id]) is None else spelled(id, text))

    return pipeline.kept.once("token bytes", table)


def spelled_out(pipeline: Pipeline, ids: Sequence[int], skip_special_tokens: bool = False) -> list[bytes]:
    """Returns the bytes of each token; those of an id without a token, or of one that is left out, are empty."""
    special: set[str] = pipeline.added.special if skip_special_tokens else set()
    left_out = {pipeline.added.ids[content] for content in special}
    table = bytes_by_id(pipeline)
    return [(b"" if id in left_out else table[id]) or b"" for id in ids]


def byte_ends(tokens: Sequence[bytes]) -> Positions:
    """Returns where each token ends in all bytes together: int64[n_tokens]."""
    return np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)))


def canonical(pipeline: Pipeline, ids: Sequence[int], final: bool) -> int | None:
    """Returns the index of the first id that encoding the text of all ids would not give; as `Tokenizer.canonical`."""
    _check_kept(pipeline, ids)
    array, tokens = np.array(ids, np.int64), _without_inserted(pipeline, ids)
    data, wrong = b"".join(tokens), len(ids)
    try:
        data.decode()
    except UnicodeDecodeError as error:
        data, is_cut = data[: error.start], error.reason == "unexpected end of data"
        if final or not is_cut:
            wrong = int(np.searchsorted(byte_ends(tokens), len(data), "right"))
    found = _encoded(pipeline, data)
    n = min(len(found), len(array))
    first = int(np.append(np.flatnonzero(found[:n] != array[:n]), n)[0])
    if not final:
        from gputok.pipeline.encode.seams import Seams

        stays = first < len(_encoded(pipeline, data[: Seams.of(pipeline).last(data)]))
        first = first if stays else len(ids)
        return min(first, wrong) if min(first, wrong) < len(ids) else None
    return None if first == len(found) == len(array) == wrong else min(first, wrong)


def _check_kept(pipeline: Pipeline, ids: Sequence[int]) -> None:
    """Raises ValueError if ids do not tell the text that they came from."""
    reason, unknown = "", pipeline.unknown_id
    if unknown is not None and unknown in ids and unknown not in pipeline.added.tokens:
        reason = f"id {unknown} stands for unknown text"
    for leaf in _leaves(pipeline.normalizer):
        if type(leaf).__name__ not in _FORMS and leaf.to_dict() not in (_PREPEND, _REPLACE):
            reason = f"the normalizer {leaf} changes text"
    for i, leaf in enumerate(_leaves(pipeline.pre_tokenizer)):
        if i and (getattr(leaf, "add_prefix_space", False) or getattr(leaf, "prepend_scheme", "") == "always"):
            reason = f"the pre-tokenizer {leaf} inserts spaces within the text"
        cut = leaf.cut()
        all_matches = cut and cut.invert and getattr(cut.matcher, "gapless", False)
        if not leaf.in_files or (cut and cut.behavior == "removed" and not all_matches):
            reason = f"the pre-tokenizer {leaf} may remove text"
    if pipeline.model.is_random:
        reason = "the model draws random tokens (dropout)"
    if reason:
        raise ValueError(f"ids do not tell the text that they came from: {reason}")


def _without_inserted(pipeline: Pipeline, ids: Sequence[int]) -> list[bytes]:
    """Returns the bytes of tokens, without the `▁` that Prepend inserts at the start and after added tokens."""
    tokens, added = spelled_out(pipeline, ids), pipeline.added
    if _PREPEND not in [leaf.to_dict() for leaf in _leaves(pipeline.normalizer)]:
        return tokens
    for i in np.flatnonzero(np.isin(ids, [id for id, token in added.tokens.items() if token.normalized])).tolist():
        tokens[i] = added.pattern(ids[i]).replace("▁", " ").encode()
    is_raw = np.isin(ids, [id for id, token in added.tokens.items() if not token.normalized])
    for i in np.flatnonzero(np.append(True, is_raw[:-1])[: len(ids)] & ~is_raw).tolist():
        tokens[i] = tokens[i].removeprefix(b" ")
    return tokens


def _leaves(*steps: Component | None) -> list[Any]:
    return [leaf for step in steps if step is not None for leaf in step.leaves()]


def _encoded(pipeline: Pipeline, data: bytes) -> Ids:
    from gputok.pipeline.encode.units import engine_of

    return engine_of(pipeline).encode(TextBatch(np.frombuffer(data, np.uint8), np.array([0, len(data)])))[0]

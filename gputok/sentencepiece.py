"""SentencePiece's `.model` files, read and written through the `sentencepiece` package's own protobuf module."""

from __future__ import annotations

import os
from typing import Any

from gputok import decoders, models, normalizers, pre_tokenizers
from gputok.automaton.pattern import Regex
from gputok.files.sentencepiece_proto import (
    BPE,
    CONTROL,
    NORMAL,
    UNIGRAM,
    UNKNOWN,
    UNUSED,
    USER_DEFINED,
    protobuf,
)
from gputok.tokenizer import Tokenizer
from gputok.tokens.added_token import AddedToken

SPACE = "▁"


def from_sentencepiece(source: str | os.PathLike[str] | bytes) -> Tokenizer:
    """A tokenizer from a SentencePiece model (unigram or bpe), which gives the same ids.

    source: the path of a `.model` file, or its bytes. Control symbols such as `<s>` become special tokens; as
    SentencePiece does, text that spells one is text (`encode_special_tokens` is set, which a saved file doesn't keep).
    User-defined symbols become added tokens. Nothing is added to a text: set `post_processor` for that.

    Ids differ from SentencePiece's only in models with user-defined symbols, where a text begins with one or with spaces
    (its first `▁` is missing), and where several marks stand on one character (`Precompiled` normalizes as the namesake).
    Raises ValueError for what no tokenizer here can express: models of words or characters, white space as a suffix,
    unused pieces. Needs the `sentencepiece` package.
    """
    proto = protobuf().ModelProto()
    if not isinstance(source, bytes):
        with open(source, "rb") as file:
            source = file.read()
    try:
        proto.ParseFromString(source)
    except Exception as error:
        raise ValueError(f"this isn't a SentencePiece model: {error}") from None
    _check(proto)
    spec = proto.normalizer_spec
    collapse = spec.remove_extra_whitespaces
    tokenizer = Tokenizer(_unigram(proto) if proto.trainer_spec.model_type == UNIGRAM else _bpe(proto))

    steps: list[Any] = []
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if collapse:
        # Rules named nmt leave no other white space than spaces, so that the quick Strip takes only these away.
        ends = (
            normalizers.Strip
            if spec.name.startswith("nmt")
            else lambda: normalizers.Replace(Regex(r"\A +| +\z"), "")
        )
        steps.append(ends())
        steps += [normalizers.Replace(Regex(" {2,}"), " ")]
        # Text can't begin with a space here, so that one ▁ before it is all. "first" gives none to what follows an added
        # token, but none either to a text whose first characters were removed.
        symbols = any(piece.type == USER_DEFINED for piece in proto.pieces)
        scheme = ("first" if symbols else "always") if spec.add_dummy_prefix else "never"
        # Unigram sums its scores over a whole text, and their rounding can decide; merges stay within words.
        inside = any(SPACE in piece.piece[1:] for piece in proto.pieces)
        split = proto.trainer_spec.model_type == BPE and not inside
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme=scheme, split=split)
    else:
        steps += [normalizers.Prepend(SPACE)] * spec.add_dummy_prefix + [normalizers.Replace(" ", SPACE)]
    tokenizer.normalizer = normalizers.Sequence(steps)

    pieces = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    pieces += [decoders.Strip(" ", 1, 0)] * spec.add_dummy_prefix
    tokenizer.decoder = decoders.Sequence(pieces)
    named = {kind: [piece.piece for piece in proto.pieces if piece.type == kind] for kind in range(1, 7)}
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in (*named[UNKNOWN], *named[CONTROL])]
    )
    tokenizer.encode_special_tokens = True
    tokenizer.add_tokens([AddedToken(token, normalized=collapse) for token in named[USER_DEFINED]])
    return tokenizer


def _check(proto: Any) -> None:
    trainer, kinds = proto.trainer_spec, {piece.type for piece in proto.pieces}
    unsupported = {
        f"model_type {trainer.model_type}, neither unigram nor bpe": trainer.model_type not in (UNIGRAM, BPE),
        "white space as a suffix": trainer.treat_whitespace_as_suffix,
        "unescaped white space": not proto.normalizer_spec.escape_whitespaces,
        "unused pieces": UNUSED in kinds,
        "no pieces": not kinds,
        "no unknown piece": UNKNOWN not in kinds,
    }
    for what, there in unsupported.items():
        if there:
            raise ValueError(f"a SentencePiece model with {what} can't be expressed")


def _unigram(proto: Any) -> models.Unigram:
    unk = next(id for id, piece in enumerate(proto.pieces) if piece.type == UNKNOWN)
    pairs = [(piece.piece, piece.score) for piece in proto.pieces]
    model = models.Unigram(pairs, unk, proto.trainer_spec.byte_fallback)
    model.sentencepiece = [id for id, piece in enumerate(proto.pieces) if piece.type != NORMAL]
    return model


def _bpe(proto: Any) -> models.BPE:
    """SentencePiece merges whatever spells a piece, the one of the highest score first: so each way to cut a piece in
    two is a merge, and all ways have the piece's rank."""
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type == NORMAL}
    ids = {piece.piece: id for id, piece in enumerate(proto.pieces)}
    by_score = sorted(scores, key=lambda piece: (-scores[piece], ids[piece]))
    cuts = ((piece[:i], piece[i:]) for piece in by_score for i in range(1, len(piece)))
    merges = [(left, right) for left, right in cuts if left in scores and right in scores]
    unk = next(piece.piece for piece in proto.pieces if piece.type == UNKNOWN)
    model = models.BPE(
        ids, merges, unk_token=unk, fuse_unk=True, byte_fallback=proto.trainer_spec.byte_fallback
    )
    model.sentencepiece = True
    return model
